# SPDX-License-Identifier: Apache-2.0
"""Measurement: the result of one perf module on one machine, as JSON. page.py makes docs/performance.md of all."""

import json
import os
import platform
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from compliance.files import atomic_write
from compliance.files.errors import UserError

INSTRUCTIONS = {"AMX": "amx_bf16", "AVX512-bf16": "avx512_bf16", "AVX512": "avx512f", "AVX2": "avx2"}
"""Instructions that determine the peak, the widest first, with their flags in /proc/cpuinfo."""


class NotMeasurable(UserError):
    """A tool or permission that a measurement needs is missing on this machine; the text names it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Our figure and the peer's on the same input in the same run."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    ratio: float | None = None
    """How many times better ours is; below 1 the peer wins. None if there is no peer."""
    peak_share: float | None = None
    """Our operations per second over the machine's measured peak in the same precision (peak.py)."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Result of one perf module."""

    name: str
    """File name of the JSON without suffix."""
    title: str
    peer: str
    """Description of the peer."""
    method: str
    """Method of measurement, in a sentence or two."""
    rows: list[Row]
    versions: tuple[str, ...] = ("torch",)
    """Packages whose versions affect the figures."""
    machine: str = field(default_factory=lambda: machine())
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    def write(self, folder: Path, load_per_core: float | None = None) -> Path:
        """Write the record into the machine's own folder below `folder`; figures of other machines stay.

        `load_per_core` is the load average before the measurement; with other jobs rates are lower bounds.
        """
        path = folder / folder_name(self.machine) / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = asdict(self) | {"load_per_core": load_per_core}
        record |= {"versions": {name: version(name) for name in self.versions}}
        atomic_write.write(path, json.dumps(record, indent=2) + "\n")
        return path


def machine() -> str:
    """Core count, processor and its widest instructions, such as '2 cores of AMD EPYC (AVX512-bf16)'."""
    info = _cpuinfo()
    flags = info.get("flags", "").split()
    instructions = next((f" ({name})" for name, flag in INSTRUCTIONS.items() if flag in flags), "")
    return f"{len(os.sched_getaffinity(0))} cores of {info.get('model name', platform.machine())}{instructions}"


def folder_name(machine: str) -> str:
    """Folder of a machine's records: intel_xeon_amx for '2 cores of Intel(R) Xeon(R) Processor (AMX)'."""
    name = re.sub(r"^\d+ cores of |\(R\)|\(TM\)|Processor", "", machine)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _cpuinfo() -> dict[str, str]:
    """Keys and values of the first processor; empty if the system does not tell."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().partition("\n\n")[0].splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
