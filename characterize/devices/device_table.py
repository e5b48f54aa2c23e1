# SPDX-License-Identifier: Apache-2.0
"""Device: peak rates of an accelerator or processor, from characterize/devices/devices.toml or a file of the same form.

devices = known_devices(Path("our_devices.toml"))        # the shipped table with one's own entries added
find_device_named("H100", devices).training_tflops       # 989.0

[Ours]                                    # a file of one's own: one table per device
bf16_tflops = 500                         # at least one rate: fp32_, tf32_, bf16_ or fp16_tflops
memory_gb_per_s = 2000
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from characterize.results.result import CharacterizeError
from compliance.files import toml

RATES = ("fp32_tflops", "tf32_tflops", "bf16_tflops", "fp16_tflops")
KEYS = (*RATES, "memory_gb_per_s", "matches", "source")


@dataclass(frozen=True, kw_only=True)
class Device:
    """Dense peak rates of one accelerator, or of a node's processor."""

    name: str
    fp32_tflops: float | None = None
    tf32_tflops: float | None = None
    bf16_tflops: float | None = None
    fp16_tflops: float | None = None
    memory_gb_per_s: float
    matches: tuple[str, ...] = ()
    """Lower-case parts of the names that system descriptions use."""
    source: str = ""

    @property
    def training_tflops(self) -> float:
        """Highest rate, which mixed-precision training can use."""
        return max(getattr(self, rate) or 0.0 for rate in RATES)

    def is_called(self, name: str) -> bool:
        """True if a system description's accelerator or processor name means this device."""
        return name.lower() == self.name.lower() or any(part in name.lower() for part in self.matches)


def known_devices(own: Path | None = None) -> tuple[Device, ...]:
    """The shipped table; devices of the file `own` come first and replace shipped ones of the same name."""
    shipped = _devices(Path(str(files("characterize").joinpath("devices/devices.toml"))))
    mine = _devices(own) if own else ()
    names = {device.name.lower() for device in mine}
    return (*mine, *(device for device in shipped if device.name.lower() not in names))


def match_device(description: str, devices: Iterable[Device]) -> Device | None:
    """The device that a system description names; None if no device of the table matches.

    The longest match wins, because H100 is a part of GH100.
    """
    called = [device for device in devices if device.is_called(description)]
    return max(called, key=lambda device: max(map(len, (device.name, *device.matches)))) if called else None


def find_device_named(name: str, devices: Iterable[Device]) -> Device:
    """The device with this name. CharacterizeError says which names are known and how to describe another device."""
    by_name = {device.name.lower(): device for device in devices}
    if name.lower() not in by_name:
        near = get_close_matches(name.lower(), by_name, n=1)
        hint = f"; did you mean {by_name[near[0]].name}?" if near else ""
        known = ", ".join(device.name for device in by_name.values())
        raise CharacterizeError(
            f"--accelerator: found {name!r}, expected one of {known}{hint}; describe another device in a TOML file "
            f"and name it by --devices FILE, such as: [{name}] bf16_tflops = 500, memory_gb_per_s = 2000"
        )
    return by_name[name.lower()]


def _devices(path: Path) -> tuple[Device, ...]:
    return tuple(_device(path, name, table) for name, table in toml.load(path).items())


def _device(path: Path, name: str, table: Any) -> Device:
    if not isinstance(table, dict):
        raise CharacterizeError(f"{path}: {name}: found {table!r}, expected a table [{name}] with rates")
    for key in table.keys() - set(KEYS):
        raise CharacterizeError(f"{path}: {name}.{key}: unknown key; expected one of {', '.join(KEYS)}")
    if "memory_gb_per_s" not in table or not table.keys() & set(RATES):
        raise CharacterizeError(f"{path}: {name}: expected memory_gb_per_s and at least one of {', '.join(RATES)}")
    for key in table.keys() & {*RATES, "memory_gb_per_s"}:
        if not isinstance(table[key], int | float) or isinstance(table[key], bool) or not 0 < table[key] < 1e9:
            raise CharacterizeError(f"{path}: {name}.{key}: found {table[key]!r}, expected a number above 0")
    matches = table.get("matches", [name.lower()])
    if not isinstance(matches, list) or not all(isinstance(part, str) and part for part in matches):
        raise CharacterizeError(f"{path}: {name}.matches: found {matches!r}, expected a list of texts")
    return Device(name=name, **(table | {"matches": tuple(part.lower() for part in matches)}))
