# SPDX-License-Identifier: Apache-2.0
"""EnergyMeter: joules between two moments, from the best counter of this node; without a counter, no figure.

    with EnergyMeter(declared_watts=None) as meter: ...
    meter.record                      # Energy(joules=None, source="none", ...) if there is no counter

Order of sources: the energy counters of NVML and amdsmi, RAPL, acct_gather_energy of Slurm, a declared power. NVML and
amdsmi cover accelerators only, RAPL covers processor packages. `scope` tells which, and figures of different scope must
not be compared.
"""

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from harness.monitoring import nvml

RAPL = Path("/sys/class/powercap")
JOULES_A_MILLIJOULE, JOULES_A_MICROJOULE = 1e-3, 1e-6
SECONDS_BETWEEN_READS = 60.0
"""A RAPL counter of 262 kJ starts again from 0 after 6 minutes at 700 W, so that it is read more often than that."""


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy that this node used between two moments."""

    joules: float | None
    """None if there is no counter."""
    source: str
    """nvml, amdsmi, rapl, slurm, declared or none."""
    scope: str
    """Part of the node that the counter covers: accelerators, processor packages, or the node."""
    coverage: str
    """How much of the scope is covered, such as `8 of 8 accelerators`."""
    interval: float | None
    """Seconds between two readings of the counter; None for a counter that counts continuously."""

    @property
    def is_estimated(self) -> bool:
        """True for a declared power, which is no measurement: the figure is marked and never ranked."""
        return self.source == "declared"


NOTHING = Energy(joules=None, source="none", scope="none", coverage="no energy counter on this node", interval=None)


@dataclass(frozen=True, kw_only=True)
class Counter:
    """An available source: its total so far, in joules."""

    source: str
    scope: str
    coverage: str
    read: Callable[[], float]
    seconds_between_reads: float | None = None
    """Longest time from one read to the next, if the source starts again from 0 within hours; else None."""


class EnergyMeter:
    """Reads the counter at the start and at the end of a block; a counter that fails in between gives no figure."""

    def __init__(self, *, declared_watts: float | None = None, counter: Counter | None = None) -> None:
        self._counter = counter or find_counter()
        self._declared_watts = declared_watts
        self.record = NOTHING
        self._end = threading.Event()

    def __enter__(self) -> "EnergyMeter":
        self._start_s = time.perf_counter()
        self._start_joules = self._read() or 0.0
        if self._counter and self._counter.seconds_between_reads:
            threading.Thread(target=self._keep_reading, name="energy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self.record = self._measured() or self._declared() or NOTHING

    def _read(self) -> float | None:
        """The counter's total; None without a counter, and for good once it has failed."""
        try:
            return self._counter.read() if self._counter else None
        except Exception:  # the libraries of the vendors have exceptions of their own
            self._counter = None
            return None

    def _keep_reading(self) -> None:
        while self._counter and not self._end.wait(self._counter.seconds_between_reads):
            self._read()

    def _measured(self) -> Energy | None:
        counter, joules = self._counter, self._read()
        if counter is None or joules is None:
            return None
        return Energy(
            joules=joules - self._start_joules,
            source=counter.source,
            scope=counter.scope,
            coverage=counter.coverage,
            interval=None,
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


def total(records: Sequence[Energy]) -> Energy | None:
    """The energy of all nodes; None unless every node measured the same scope from the same source."""
    first = records[0]
    if any(record.joules is None or (record.source, record.scope) != (first.source, first.scope) for record in records):
        return None
    coverage = ", ".join(sorted({record.coverage for record in records}))
    return replace(first, joules=sum(record.joules or 0.0 for record in records), coverage=coverage)


def find_counter() -> Counter | None:
    """The first available source, in the order of the module's docstring."""
    finders = (_nvml, _amdsmi, _rapl, _slurm)
    return next((counter for counter in (find() for find in finders) if counter is not None), None)


def _nvml() -> Counter | None:
    """Total energy from NVML, over all accelerators of the node that count it."""
    devices = nvml.devices()
    if devices is None:
        return None
    library, handles = devices
    counting = [handle for handle in handles if _counts(library, handle)]
    if not counting:
        return None

    def read() -> float:
        return sum(library.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in counting) * JOULES_A_MILLIJOULE

    covered = f"{len(counting)} of {len(handles)} accelerators"
    return Counter(source="nvml", scope="accelerators", coverage=covered, read=read)


def _counts(library: ModuleType, handle: Any) -> bool:
    """True for accelerators that count energy: Volta and later."""
    try:
        library.nvmlDeviceGetTotalEnergyConsumption(handle)
    except library.NVMLError:
        return False
    return True


def _amdsmi() -> Counter | None:
    """Energy accumulators from amdsmi, over all accelerators."""
    try:
        import amdsmi

        amdsmi.amdsmi_init()
        handles = amdsmi.amdsmi_get_processor_handles()
    except (ImportError, KeyError, OSError):  # amdsmi finds its library through an environment variable
        return None
    except amdsmi.AmdSmiException:
        return None
    if not handles:
        return None

    def read() -> float:
        counts = (amdsmi.amdsmi_get_energy_count(handle) for handle in handles)
        return sum(count["energy_accumulator"] * count["counter_resolution"] for count in counts) * JOULES_A_MICROJOULE

    return Counter(source="amdsmi", scope="accelerators", coverage=f"{len(handles)} accelerators", read=read)


def _rapl(root: Path = RAPL) -> Counter | None:
    """RAPL counters of the processor packages, if this user may read them."""
    packages = [path for path in sorted(root.glob("intel-rapl:*")) if path.name.count(":") == 1]
    files = [path / "energy_uj" for path in packages if os.access(path / "energy_uj", os.R_OK)]
    if not files:
        return None
    return Counter(
        source="rapl",
        scope="processor packages",
        coverage=f"{len(files)} of {len(packages)} packages",
        read=_RaplTotal(files).read,
        seconds_between_reads=SECONDS_BETWEEN_READS,
    )


class _RaplTotal:
    """Sum over packages, continued when the counter of a package starts again from 0."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files, self._lock, self._total = files, threading.Lock(), 0
        limits = [file.with_name("max_energy_range_uj") for file in files]
        self._ranges = [int(limit.read_text()) if limit.is_file() else 0 for limit in limits]
        self._last = [0] * len(files)

    def read(self) -> float:
        """Joules; OSError if a counter cannot be read any more."""
        with self._lock:
            now = [int(file.read_text()) for file in self._files]
            for old, new, size in zip(self._last, now, self._ranges, strict=True):
                self._total += new - old + (size if new < old else 0)
            self._last = now
            return self._total * JOULES_A_MICROJOULE


def _slurm() -> Counter | None:
    """Joules of the node so far, from acct_gather_energy of Slurm; slurmd samples them, so short runs are coarse."""
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
