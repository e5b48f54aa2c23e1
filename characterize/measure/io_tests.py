# SPDX-License-Identifier: Apache-2.0
"""IoTest: files and the ways to read or write them, timed on one or more clients at the same time.

    for row in time_all(test, repeats=3, clients=Clients(world)): row["bytes_per_s"]

The rate of several clients is their bytes together over the time of the slowest one.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from torch import distributed

from characterize.measure.file_access import Transfer, drop_from_cache
from characterize.measure.timing import spread_of
from harness.distributed.world import World


@dataclass(frozen=True, kw_only=True)
class Work:
    """One way to read or write the files of a test."""

    run: Callable[[], Transfer]
    is_cold: bool = True
    """True if the files are dropped from the page cache before each repeat."""
    once: bool = False
    """True if it is not repeated, because it takes long."""


@dataclass(frozen=True, kw_only=True)
class IoTest:
    """Prepared files with the ways to read or write them."""

    name: str
    paths: tuple[Path, ...]
    works: Mapping[str, Work]
    """By state: cold, warm, direct, ..."""


@dataclass(frozen=True)
class Clients:
    """The processes that measure together; without a world this process alone."""

    world: World | None = None

    @property
    def count(self) -> int:
        return self.world.num_ranks if self.world else 1

    @property
    def rank(self) -> int:
        return self.world.rank if self.world else 0

    def begin_together(self) -> None:
        if self.world:
            self.world.barrier()

    def gather(self, own: Any) -> list[Any]:
        """Every client's value, on all clients."""
        if self.world is None or self.world.num_ranks == 1:
            return [own]
        everybody: list[Any] = [None] * self.world.num_ranks
        distributed.all_gather_object(everybody, own)
        return everybody


def time_all(test: IoTest, repeats: int, clients: Clients) -> Iterator[dict[str, Any]]:
    """One row for each state of the test. All clients call it."""
    for path in test.paths:
        drop_from_cache(path)  # the first drop also waits for pending writes
    for state, work in test.works.items():
        row = {"test": test.name, "state": state, "num_files": clients.count * len(test.paths)}
        measured = [_time_once(test, work, clients) for _ in range(1 if work.once else repeats)]
        errors = [each["error"] for each in measured if "error" in each]
        yield row | ({"error": errors[0]} if errors else _rates(measured))


def _rates(measured: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [each["bytes"] / each["seconds"] for each in measured]
    per_core = median(each["bytes"] / max(each["core_seconds"], 1e-9) for each in measured)
    return {"bytes_per_s": median(rates), "spread": spread_of(rates), "bytes_per_core_second": per_core}


def _time_once(test: IoTest, work: Work, clients: Clients) -> dict[str, Any]:
    """Bytes of all clients, seconds of the slowest, and CPU seconds; or the error of one of them."""
    if work.is_cold:
        for path in test.paths:
            drop_from_cache(path)
    clients.begin_together()
    everybody = clients.gather(_own_time(work))
    errors = [own["error"] for own in everybody if "error" in own]
    if errors:
        return {"error": errors[0]}
    totals = {name: sum(own[name] for own in everybody) for name in ("bytes", "core_seconds")}
    return totals | {"seconds": max(own["seconds"] for own in everybody)}


def _own_time(work: Work) -> dict[str, Any]:
    wall, core = time.perf_counter(), _core_seconds()
    try:
        transfer = work.run()
    except OSError as error:
        return {"error": error.strerror or str(error)}
    elapsed = transfer.seconds or time.perf_counter() - wall
    return {"bytes": transfer.num_bytes, "seconds": elapsed, "core_seconds": _core_seconds() - core}


def _core_seconds() -> float:
    """CPU time of this process and of its children that have ended, such as fio."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system
