# SPDX-License-Identifier: Apache-2.0
"""ReadTest: one way to read prepared files, timed with a cold page cache, a warm one, and with direct I/O."""

import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from characterize.measure.timing import spread_of


@dataclass(frozen=True, kw_only=True)
class ReadTest:
    """One way to read prepared files."""

    name: str
    paths: tuple[Path, ...]
    read: Callable[[], int]
    """Reads everything once and returns the number of bytes."""
    direct: Callable[[], int] | None = None
    """The same with direct I/O; None if it is not measured."""


def time_all(read: ReadTest, repeats: int) -> Iterator[dict[str, Any]]:
    """One row for the cold and the warm cache, and one for direct I/O if the test has it."""
    for path in read.paths:
        _drop(path)  # the first drop also waits for pending writes
    states = {"cold": (read.read, True), "warm": (read.read, False)}
    if read.direct:
        states["direct"] = (read.direct, True)
    for state, (work, is_cold) in states.items():
        row = {"read": read.name, "num_files": len(read.paths), "state": state}
        try:
            yield row | _time(read, work, is_cold, repeats)
        except OSError as error:
            yield row | {"error": error.strerror or str(error)}


def _time(read: ReadTest, work: Callable[[], int], is_cold: bool, repeats: int) -> dict[str, float]:
    rates, cores = [], []
    for _ in range(repeats):
        if is_cold:
            for path in read.paths:
                _drop(path)
        wall, core = time.perf_counter(), time.process_time()
        num_bytes = work()
        rates.append(num_bytes / (time.perf_counter() - wall))
        cores.append(num_bytes / max(time.process_time() - core, 1e-9))
    return {"bytes_per_s": median(rates), "spread": spread_of(rates), "bytes_per_core_second": median(cores)}


def read_blocks(path: Path, offsets: Iterable[int], num_bytes: int) -> int:
    with path.open("rb", buffering=0) as file:
        return sum(len(os.pread(file.fileno(), num_bytes, offset)) for offset in offsets)


def read_direct(path: Path, offsets: Iterable[int], num_bytes: int) -> int:
    """Read blocks with O_DIRECT. Raises OSError if the file system does not support it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, num_bytes) as aligned:
            return sum(os.preadv(descriptor, [aligned], offset) for offset in offsets)
    finally:
        os.close(descriptor)


def _drop(path: Path) -> None:
    """Drop the file's pages from this node's cache; fsync first, because dirty pages stay."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
