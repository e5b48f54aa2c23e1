# SPDX-License-Identifier: Apache-2.0
"""Monitor: utilization, memory, I/O and network of this node, sampled in the background, and its energy.

    with Monitor(interval_s=1.0) as monitor:
        train()
    monitor.samples[-1].cpu_percent, monitor.energy.joules

psutil measures processors, memory, disks and network; NVML measures accelerators if nvidia-ml-py and a driver are
installed. A value that cannot be measured is None, never 0. A counter that fails during training ends the sampling, not
the run.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from types import ModuleType, TracebackType
from typing import Any

import psutil

from harness.monitoring import nvml
from harness.monitoring.energy import Energy, EnergyMeter

MAX_SAMPLES = 100_000
"""More than a day at one sample a second; then every second sample is dropped and the interval doubles."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Values at one moment; rates are over the time since the previous sample."""

    time_s: float
    """Time since the monitor started."""
    cpu_percent: float
    """Load of all processors of the node; 100 if all of them are busy."""
    memory_bytes: int
    """Memory in use on the node."""
    process_bytes: int
    """Resident memory of this process and its children."""
    read_bytes_per_s: float | None
    """Read rate of disks; None if the system does not count it."""
    written_bytes_per_s: float | None
    received_bytes_per_s: float
    """Receive rate of the network, including loopback, which local ranks communicate over."""
    sent_bytes_per_s: float
    accelerator_percent: float | None = None
    """Share of time in which a kernel ran, as the mean over the accelerators."""
    accelerator_memory_bytes: int | None = None
    accelerator_watts: float | None = None


@dataclass(frozen=True)
class _Counts:
    """Totals whose differences are rates."""

    time_s: float
    read: int | None
    written: int | None
    received: int
    sent: int


class Monitor:
    """Samples until the block is left."""

    def __init__(
        self,
        *,
        interval_s: float = 1.0,
        declared_watts: float | None = None,
        accelerators: "Accelerators | None" = None,
    ) -> None:
        if not interval_s > 0:
            raise ValueError(f"interval_s: found {interval_s}, expected a number above 0")
        self.interval_s = interval_s
        self.samples: list[Sample] = []
        self.error: str | None = None
        """The reason if sampling ended early."""
        self._accelerators = accelerators if accelerators is not None else find_accelerators()
        self._meter = EnergyMeter(declared_watts=declared_watts)
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, name="monitor", daemon=True)

    @property
    def energy(self) -> Energy:
        """Energy between the start and the end of the block; without joules before its end."""
        return self._meter.record

    def __enter__(self) -> "Monitor":
        self._begin_s = time.perf_counter()
        self._counts = _counts(0.0)
        self._meter.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._meter.__exit__(kind, error, traceback)

    def mean(self, field: str) -> float | None:
        """Mean of a field over the samples that have it."""
        values = [value for value in (getattr(sample, field) for sample in self.samples) if value is not None]
        return fmean(values) if values else None

    def _sample_until_stopped(self) -> None:
        psutil.cpu_percent()  # starts the interval, which psutil keeps for each thread
        stopped = False
        while not stopped:
            stopped = self._stop.wait(self.interval_s)  # the last sample is taken at the end, even of a short block
            try:
                self.samples.append(self._sample())
            except (psutil.Error, OSError, RuntimeError) as error:
                self.error = f"{type(error).__name__}: {error}"
                return
            if len(self.samples) >= MAX_SAMPLES:
                self.samples = self.samples[1::2]
                self.interval_s *= 2

    def _sample(self) -> Sample:
        now = _counts(time.perf_counter() - self._begin_s)
        before, self._counts = self._counts, now
        elapsed_s = max(now.time_s - before.time_s, 1e-9)
        percent, memory_bytes, watts = self._accelerators.read() if self._accelerators else (None, None, None)
        return Sample(
            time_s=now.time_s,
            cpu_percent=psutil.cpu_percent(),
            memory_bytes=psutil.virtual_memory().used,
            process_bytes=_resident_bytes(self._process),
            read_bytes_per_s=_rate(before.read, now.read, elapsed_s),
            written_bytes_per_s=_rate(before.written, now.written, elapsed_s),
            received_bytes_per_s=(now.received - before.received) / elapsed_s,
            sent_bytes_per_s=(now.sent - before.sent) / elapsed_s,
            accelerator_percent=percent,
            accelerator_memory_bytes=memory_bytes,
            accelerator_watts=watts,
        )


@dataclass(frozen=True)
class Accelerators:
    """A function that reads all accelerators of the node: (mean utilization in percent, bytes in use, watts)."""

    read: Callable[[], tuple[float | None, int | None, float | None]]


def find_accelerators() -> Accelerators | None:
    """The accelerators that NVML knows; None if nvidia-ml-py or a driver is missing."""
    opened = nvml.devices()
    return Accelerators(read=lambda: _read_nvml(*opened)) if opened else None


def _read_nvml(library: ModuleType, handles: list[Any]) -> tuple[float | None, int | None, float | None]:
    def total(query: Callable[[Any], float]) -> float | None:
        try:
            return sum(query(handle) for handle in handles)
        except library.NVMLError:  # some virtual devices do not support the query
            return None

    percent = total(lambda handle: library.nvmlDeviceGetUtilizationRates(handle).gpu)
    memory = total(lambda handle: library.nvmlDeviceGetMemoryInfo(handle).used)
    milliwatts = total(library.nvmlDeviceGetPowerUsage)
    return (
        None if percent is None else percent / len(handles),
        None if memory is None else int(memory),
        None if milliwatts is None else milliwatts / 1000,
    )


def _counts(time_s: float) -> _Counts:
    disks, network = psutil.disk_io_counters(), psutil.net_io_counters()
    return _Counts(
        time_s,
        disks.read_bytes if disks else None,
        disks.write_bytes if disks else None,
        network.bytes_recv,
        network.bytes_sent,
    )


def _rate(before: int | None, now: int | None, elapsed_s: float) -> float | None:
    return None if before is None or now is None else (now - before) / elapsed_s


def _resident_bytes(process: psutil.Process) -> int:
    """Resident memory of a process and its children; children that have just ended are skipped."""
    total = process.memory_info().rss
    for child in process.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
