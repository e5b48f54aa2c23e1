# SPDX-License-Identifier: Apache-2.0
"""Curve: the quality of one run over epochs and over minutes, and the choice of runs that are drawn."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from compliance.mllog import Event, RunLog
from compliance.rulesets.ruleset import Benchmark
from compliance.scoring.run_metrics import MS_PER_MINUTE, evaluations

MAX_CURVES = 16  # more lines than this in one small chart hide each other; a throughput entry has hundreds


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The evaluations of one run, in the order of the log."""

    epochs: tuple[float, ...]
    minutes: tuple[float, ...]
    """Since run_start."""
    values: tuple[float, ...]

    @property
    def last_epoch(self) -> float | None:
        return self.epochs[-1] if self.epochs else None

    @property
    def last_value(self) -> float | None:
        return self.values[-1] if self.values else None


def curve(log: RunLog, benchmark: Benchmark) -> Curve:
    """Evaluations between run_start and run_stop whose values are possible; empty if the log has no run_start."""
    start, stop = log.first("run_start"), log.last("run_stop")
    if start is None:
        return Curve(epochs=(), minutes=(), values=())
    end_ms = stop.time_ms if stop is not None else math.inf
    events = [event for event in evaluations(log, benchmark) if start.time_ms <= event.time_ms <= end_ms]
    return Curve(
        epochs=tuple(_epochs(events, log)),
        minutes=tuple((event.time_ms - start.time_ms) / MS_PER_MINUTE for event in events),
        values=tuple(float(event.value) for event in events),
    )


def _epochs(events: Sequence[Event], log: RunLog) -> Iterator[float]:
    """Epochs completed at each evaluation, counted from 1; several evaluations of one epoch are spread over it."""
    numbers = [_epoch_number(event, position) for position, event in enumerate(events, start=1)]
    counts_from_zero = any(_epoch_number(event, 1) == 0 for event in log.all("epoch_start")[:1])
    total, seen = Counter(numbers), Counter[float]()
    for number in numbers:
        seen[number] += 1
        yield number + counts_from_zero - 1 + seen[number] / total[number]


def _epoch_number(event: Event, otherwise: int) -> float:
    number: Any = event.metadata.epoch_num if event.metadata else None
    plausible = isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < 10**9
    return number if plausible else otherwise


def spread(ranked: Sequence[Any], most: int = MAX_CURVES) -> list[Any]:
    """At most `most` items at even distances in rank, the first and the last among them."""
    if len(ranked) <= most:
        return list(ranked)
    return [ranked[round(index * (len(ranked) - 1) / (most - 1))] for index in range(most)]
