# SPDX-License-Identifier: Apache-2.0
"""MemoryCounter: bytes that a node's processors move to and from memory, from the memory controllers' counters.

    with MemoryCounter() as counter: step()
    counter.num_bytes, counter.missing             # None and a reason if the machine does not count

Linux `perf` reads the counters of Intel memory controllers (uncore_imc), as the MLPerf HPC paper did on CPUs (table 7).
Virtual machines usually have none. Unverified on a machine with such counters; the parser is tested on perf's format.
"""

import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType

DEVICES = Path("/sys/bus/event_source/devices")
EVENTS = ("uncore_imc/cas_count_read/", "uncore_imc/cas_count_write/")
UNITS = {"": 64, "MiB": 1 << 20, "GiB": 1 << 30}
"""Bytes per count; without a unit, a count is one cache line."""
TIMEOUT_S = 10


class MemoryCounter:
    """Counts until the block is left."""

    def __init__(self) -> None:
        self.num_bytes: float | None = None
        """None if nothing was counted."""
        self.missing = missing()
        """Reason why nothing can be counted; empty if it can."""
        self._perf: subprocess.Popen | None = None

    def __enter__(self) -> "MemoryCounter":
        if not self.missing:
            command = ["perf", "stat", "-a", "-x", ",", "-e", ",".join(EVENTS)]
            self._perf = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._perf is None:
            return
        self._perf.send_signal(signal.SIGINT)  # perf prints its counts when it is interrupted
        try:
            self.num_bytes = counted_bytes(self._perf.communicate(timeout=TIMEOUT_S)[1])
        except subprocess.TimeoutExpired:
            self._perf.kill()
            self._perf.communicate()
        if self.num_bytes is None:
            self.missing = "perf did not count the memory controllers' events (it may need root)"


def missing() -> str:
    """Reason why the memory controllers cannot be counted; empty if they can."""
    if shutil.which("perf") is None:
        return "perf is not installed"
    if not any(DEVICES.glob("uncore_imc*")):
        return "this machine has no counters of memory controllers (uncore_imc)"
    return ""


def counted_bytes(text: str) -> float | None:
    """Sum of the counts in perf's comma-separated output; None if an event was not counted."""
    fields = [line.split(",") for line in text.splitlines() if "cas_count" in line]
    try:
        counts = [float(value) * UNITS[unit] for value, unit, *_ in fields]
    except (ValueError, KeyError):
        return None
    return sum(counts) if counts else None
