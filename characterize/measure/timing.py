# SPDX-License-Identifier: Apache-2.0
"""Time a function: warm-up, repeats with cold inputs, median and spread.

    timed = time_repeatedly(lambda: a @ b, repeats=5, device=device)
    timed.seconds, timed.spread, timed.core_seconds

Before each repeat a buffer larger than the last-level cache is overwritten, so that inputs come from memory as in a
training step. CPU time is recorded too, because on a shared machine wall time includes other jobs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import median, quantiles

import torch

from harness.device import synchronize

CACHE_BYTES = {"cpu": 64 << 20, "cuda": 128 << 20}
"""At least the last-level cache of current devices."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of one repeat."""

    seconds: float
    """Median over the repeats."""
    fastest_seconds: float
    """Fastest repeat; ceilings use it."""
    spread: float | None
    """IQR / median; None for one repeat."""
    core_seconds: float
    """Median CPU time of all threads of this process; on an accelerator this is host time."""
    repeats: int


def time_repeatedly(
    work: Callable[[], object],
    *,
    device: torch.device | None = None,
    warm_up: int = 1,
    repeats: int = 5,
    max_seconds: float = 2.0,
    cold: bool = True,
) -> Timing:
    """Time at least one and at most `repeats` repeats; no new repeat starts after `max_seconds`."""
    device = device or torch.device("cpu")
    for _ in range(warm_up):
        work()
    walls, cores, began = [], [], time.perf_counter()
    while len(walls) < repeats and (not walls or time.perf_counter() - began < max_seconds):
        if cold:
            _evict(device)
        wall, core = _time_once(work, device)
        walls.append(wall)
        cores.append(core)
    return Timing(
        seconds=median(walls),
        fastest_seconds=min(walls),
        spread=spread_of(walls),
        core_seconds=median(cores),
        repeats=len(walls),
    )


def spread_of(values: list[float]) -> float | None:
    """IQR / median; None for fewer than two values, which have no spread."""
    if len(values) < 2:
        return None
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def _time_once(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    synchronize(device)
    wall, core = time.perf_counter(), time.process_time()
    work()
    synchronize(device)
    return time.perf_counter() - wall, time.process_time() - core


def _evict(device: torch.device) -> None:
    _buffer(device).add_(1)


@cache
def _buffer(device: torch.device) -> torch.Tensor:
    return torch.zeros(CACHE_BYTES[device.type], dtype=torch.uint8, device=device)
