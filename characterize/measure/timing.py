# SPDX-License-Identifier: Apache-2.0
"""Time a piece of work: warmed up, repeated, with cold inputs; the median with its spread.

    timed = time_repeatedly(lambda: a @ b, repeats=5, device=device)
    timed.seconds, timed.spread, timed.core_seconds

Before each repeat a buffer larger than the last cache is overwritten, so that inputs come from memory as they do in a
training step. CPU time stands beside wall time: on a shared machine the wall clock counts the neighbours too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import median, quantiles

import torch

CACHE_BYTES = {"cpu": 64 << 20, "cuda": 128 << 20}
"""At least the last cache of today's devices."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of one repeat."""

    seconds: float
    """Median over the repeats."""
    fastest_seconds: float
    """Of all repeats: what a ceiling is made of."""
    spread: float
    """Distance of the quartiles over the median: half of the repeats lie within it."""
    core_seconds: float
    """CPU time of all threads, median; on an accelerator that of the host alone."""
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
    """At least one repeat; further ones while `max_seconds` have not passed, `repeats` at most."""
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


def spread_of(values: list[float]) -> float:
    """Distance of the quartiles over the median; 0 of fewer than two."""
    if len(values) < 2:
        return 0.0
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
