# SPDX-License-Identifier: Apache-2.0
"""The system description of a submission, filled in as far as this machine tells.

    python -m harness.campaign.system_description                  # prints the description of this node

Keys and their order are those of the rules (system_description in rules/base.toml). Values that the machine does not
tell stay empty for the submitter to fill in. Sources are lscpu, /proc and /sys on Linux, and torch for accelerators.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from compliance import command_line
from compliance.files import atomic_write
from compliance.rulesets import ruleset
from harness import cli, processor


def options() -> command_line.Parser:
    """Options of the command."""
    parser = command_line.command("harness.campaign.system_description", __doc__)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead")
    return parser


cli.answer_early(__name__, options())

import psutil

PACKAGES = ("numpy", "h5py", "mlperf-logging", "mpi4py", "nvidia-dali-cuda130")
CACHES = ("L1d cache", "L1i cache", "L2 cache", "L3 cache")
NO_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")
GIB = 1 << 30


def describe(keys: Sequence[str], **given: str) -> dict[str, Any]:
    """A value for each of the keys; `given` values take precedence (submitter, division, ...)."""
    known = {**_processors(), **_memory(), **_storage(), **_networks(), **_accelerators(), **_software(), **given}
    unexpected = known.keys() - set(keys)
    assert not unexpected, f"not keys of a system description: {unexpected}"
    return {key: known.get(key, "") for key in keys}


def unknown_keys(keys: Sequence[str], description: Mapping[str, Any]) -> list[str]:
    """Keys that the submitter has to fill in: empty ones, except notes and, without accelerators, their keys."""
    without = ["accelerator_"] if description.get("accelerators_per_node") == "0" else []
    not_needed = ("hw_notes", "sw_notes", *without)
    return [key for key in keys if not description.get(key) and not key.startswith(not_needed)]


def _processors() -> dict[str, str]:
    cpu = _lscpu()
    sockets, cores = _number(cpu, "Socket(s)"), _number(cpu, "Core(s) per socket", "Core(s) per cluster")
    threads = _number(cpu, "Thread(s) per core")
    frequency = psutil.cpu_freq()
    caches = [f"{name.removesuffix(' cache')} {cpu[name]}" for name in CACHES if name in cpu]
    return {
        "host_processors_per_node": str(sockets or ""),
        "host_processor_model_name": processor.model_name(),
        "host_processor_core_count": str(cores or psutil.cpu_count(logical=False) or ""),
        "host_processor_vcpu_count": str(cores * threads or psutil.cpu_count() or ""),
        "host_processor_frequency": f"{frequency.max or frequency.current:.0f} MHz" if frequency else "",
        "host_processor_caches": ", ".join(caches),
    }


def _lscpu() -> dict[str, str]:
    """Field -> data of lscpu; empty if it is not installed."""
    if shutil.which("lscpu") is None:
        return {}
    english = {**os.environ, "LC_ALL": "C"}
    printed = subprocess.run(["lscpu", "--json"], capture_output=True, check=False, env=english).stdout
    try:
        return dict(_fields(json.loads(printed)["lscpu"]))
    except (ValueError, KeyError):
        return {}


def _fields(entries: list[dict]) -> list[tuple[str, str]]:
    """(name, data) of all fields; newer versions of lscpu nest them."""
    fields = []
    for entry in entries:
        fields.append((entry["field"].rstrip(":"), entry.get("data") or ""))
        fields += _fields(entry.get("children", []))
    return fields


def _number(cpu: Mapping[str, str], *names: str) -> int:
    return next((int(cpu[name]) for name in names if cpu.get(name, "").isdecimal()), 0)


def _memory() -> dict[str, str]:
    return {"host_memory_capacity": f"{psutil.virtual_memory().total / GIB:.0f} GiB"}


def _storage(root: Path = Path("/sys/block")) -> dict[str, str]:
    sizes = {disk: _bytes(disk) for disk in sorted(root.glob("*")) if not disk.name.startswith(NO_DISKS)}
    disks = {disk: num_bytes for disk, num_bytes in sizes.items() if num_bytes > 0}
    capacities = (f"{disk.name} {num_bytes / 1e9:.0f} GB" for disk, num_bytes in disks.items())
    return {
        "host_storage_type": ", ".join(dict.fromkeys(_disk_type(disk) for disk in disks)),
        "host_storage_capacity": ", ".join(capacities),
    }


def _bytes(disk: Path) -> int:
    sectors = _read(disk / "size")
    return 512 * int(sectors) if sectors.isdecimal() else 0  # /sys counts in sectors of 512 bytes on every disk


def _disk_type(disk: Path) -> str:
    if disk.name.startswith("nvme"):
        return "NVMe SSD"
    if disk.name.startswith(("vd", "xvd")):
        return "virtual disk"
    return "HDD" if _read(disk / "queue" / "rotational") == "1" else "SSD"


def _networks(root: Path = Path("/sys/class")) -> dict[str, str]:
    """Ethernet and InfiniBand ports, without virtual interfaces, which have no device."""
    ethernet = [_interface(path) for path in sorted((root / "net").glob("*")) if (path / "device").exists()]
    ports = sorted((root / "infiniband").glob("*/ports/*"))
    infiniband = [f"{port.parts[-3]} port {port.name}: {_read(port / 'rate')}" for port in ports]
    return {"host_networking": ", ".join(infiniband + ethernet)}


def _interface(path: Path) -> str:
    megabits = _read(path / "speed")  # -1 or unreadable if the driver does not tell
    return f"{path.name}: {int(megabits) / 1000:g} Gb/s" if megabits.isdecimal() else path.name


def _accelerators() -> dict[str, str]:
    import torch  # takes seconds, and --help does not wait for it

    num_accelerators = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if num_accelerators == 0:
        return {"accelerators_per_node": "0", "accelerator_model_name": "N/A"}
    properties = torch.cuda.get_device_properties(0)
    clock_khz = getattr(properties, "clock_rate", 0)
    return {
        "accelerators_per_node": str(num_accelerators),
        "accelerator_model_name": properties.name,
        "accelerator_memory_capacity": f"{properties.total_memory / GIB:.0f} GiB",
        "accelerator_frequency": f"{clock_khz / 1000:.0f} MHz" if clock_khz else "",
        "accelerator_on-chip_memories": f"L2 {getattr(properties, 'L2_cache_size', 0) / (1 << 20):.0f} MiB",
    }


def _software() -> dict[str, Any]:
    import torch  # takes seconds, and --help does not wait for it

    stack = {"python": platform.python_version(), "kernel": platform.release()}
    for package in PACKAGES:
        try:
            stack[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        stack["cuda"] = torch.version.cuda or ""
        stack["cudnn"] = str(torch.backends.cudnn.version())
        stack["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
    return {
        "framework": f"PyTorch {torch.__version__}",
        "other_software_stack": stack,
        "operating_system": _operating_system(),
    }


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the description of this node, or write it to --output."""
    given = options().parse_args(arguments)
    text = json.dumps(describe(ruleset.load("base").values["system_description"]["keys"]), indent=2) + "\n"
    if given.output:
        atomic_write.write(given.output, text)
    else:
        print(text, end="")


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
