# SPDX-License-Identifier: Apache-2.0
"""EnergyMeter: joules between two moments, from the best counter of this node, or none at all; never guessed.

    with EnergyMeter(declared_watts=None) as meter: ...
    meter.record                      # Energy(joules=None, source="none", ...) where nothing measures

Order of sources: NVML's total energy, amdsmi's, RAPL, Slurm's acct_gather_energy, a declared wattage. NVML and amdsmi
cover accelerators alone, RAPL processor packages: `scope` says so, and figures of different scope are not compared.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from harness.monitoring import nvml

RAPL = Path("/sys/class/powercap")
JOULES_A_MILLIJOULE, JOULES_A_MICROJOULE = 1e-3, 1e-6


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What a run's part on this node took."""

    joules: float | None
    """None where nothing measures it."""
    source: str
    """nvml, amdsmi, rapl, slurm, declared or none."""
    scope: str
    """What the counter sees: accelerators, processor packages, or the node."""
    coverage: str
    """How much of that: such as `8 of 8 accelerators`."""
    interval: float | None
    """Seconds between two readings of the counter; None where it counts continuously."""

    @property
    def is_estimated(self) -> bool:
        """A declared wattage is no measurement: it is marked, and never ranked."""
        return self.source == "declared"


NOTHING = Energy(joules=None, source="none", scope="none", coverage="no energy counter on this node", interval=None)


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A source that is there: its total so far, in joules."""

    source: str
    scope: str
    coverage: str
    read: Callable[[], float]
    modulus: float | None = None
    """Joules at which the counter starts again from 0; None: never within a run."""


class EnergyMeter:
    """Reads the counter at both ends of a block."""

    def __init__(self, *, declared_watts: float | None = None, counter: Counter | None = None) -> None:
        self._counter = counter or find_counter()
        self._declared_watts = declared_watts
        self.record = NOTHING

    def __enter__(self) -> "EnergyMeter":
        self._start_s = time.perf_counter()
        self._start_joules = self._counter.read() if self._counter else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.record = self._measured() or self._declared() or NOTHING

    def _measured(self) -> Energy | None:
        if self._counter is None:
            return None
        joules = self._counter.read() - self._start_joules
        if joules < 0 and self._counter.modulus:
            joules += self._counter.modulus
        counter = self._counter
        return Energy(
            joules=joules, source=counter.source, scope=counter.scope, coverage=counter.coverage, interval=None
        )

    def _declared(self) -> Energy | None:
        if self._declared_watts is None:
            return None
        seconds = time.perf_counter() - self._start_s
        return Energy(
            joules=self._declared_watts * seconds,
            source="declared",
            scope="node",
            coverage=f"estimated from a declared {self._declared_watts:g} W",
            interval=None,
        )


def find_counter() -> Counter | None:
    """The first source that is there, in the order of the module's head."""
    finders = (_nvml, _amdsmi, _rapl, _slurm)
    return next((counter for counter in (find() for find in finders) if counter is not None), None)


def _nvml() -> Counter | None:
    """NVML's total energy of every accelerator of the node that says it."""
    library, handles = nvml.devices() or (None, ())
    counting = [handle for handle in handles if _counts(library, handle)]
    if not counting:
        return None

    def read() -> float:
        return sum(library.nvmlDeviceGetTotalEnergyConsumption(one) for one in counting) * JOULES_A_MILLIJOULE

    covered = f"{len(counting)} of {len(handles)} accelerators"
    return Counter(source="nvml", scope="accelerators", coverage=covered, read=read)


def _counts(library: ModuleType, handle: Any) -> bool:
    """Volta and later do."""
    try:
        library.nvmlDeviceGetTotalEnergyConsumption(handle)
    except library.NVMLError:
        return False
    return True


def _amdsmi() -> Counter | None:
    """amdsmi's energy accumulator of every accelerator."""
    try:
        import amdsmi

        amdsmi.amdsmi_init()
        handles = amdsmi.amdsmi_get_processor_handles()
    except (ImportError, KeyError, OSError):  # amdsmi looks for its library by an environment variable
        return None
    except amdsmi.AmdSmiException:
        return None
    if not handles:
        return None

    def read() -> float:
        counts = (amdsmi.amdsmi_get_energy_count(handle) for handle in handles)
        return sum(one["energy_accumulator"] * one["counter_resolution"] for one in counts) * JOULES_A_MICROJOULE

    return Counter(source="amdsmi", scope="accelerators", coverage=f"{len(handles)} accelerators", read=read)


def _rapl(root: Path = RAPL) -> Counter | None:
    """Running average power limit counters of the processor packages, where the kernel shows them to this user."""
    packages = [path for path in sorted(root.glob("intel-rapl:*")) if path.name.count(":") == 1]
    files = [path / "energy_uj" for path in packages if os.access(path / "energy_uj", os.R_OK)]
    if not files:
        return None
    limits = [path.with_name("max_energy_range_uj") for path in files]

    def read() -> float:
        return sum(int(file.read_text()) for file in files) * JOULES_A_MICROJOULE

    return Counter(
        source="rapl",
        scope="processor packages",
        coverage=f"{len(files)} of {len(packages)} packages",
        read=read,
        modulus=int(limits[0].read_text()) * JOULES_A_MICROJOULE if limits[0].is_file() else None,
    )


def _slurm() -> Counter | None:
    """acct_gather_energy: the node's joules so far, as slurmd reports them; sampled, so short runs are coarse."""
    node = os.environ.get("SLURMD_NODENAME")
    scontrol = shutil.which("scontrol")
    if not node or scontrol is None or _slurm_joules(scontrol, node) is None:
        return None
    return Counter(
        source="slurm", scope="node", coverage=f"node {node}", read=lambda: _slurm_joules(scontrol, node) or 0.0
    )


def _slurm_joules(scontrol: str, node: str) -> float | None:
    printed = subprocess.run([scontrol, "show", "node", node], capture_output=True, text=True, check=False).stdout
    match = re.search(r"ConsumedJoules=(\d+)", printed)
    return float(match[1]) if match and int(match[1]) else None
