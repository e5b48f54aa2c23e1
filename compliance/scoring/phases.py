# SPDX-License-Identifier: Apache-2.0
"""A run's time by phase: staging, training, evaluation and the rest, as in Figure 1 of the MLPerf HPC paper.

    phases = run_phases(log)
    phases.staging_minutes, phases.training_minutes, phases.evaluation_minutes, phases.other_minutes

Only time on the clock counts: an interval is cut at run_start and run_stop.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from compliance.run_log import RunLog
from compliance.scoring.run_metrics import MS_PER_MINUTE, epoch_of

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Minutes of one run; they add up to its time to train."""

    staging_minutes: float
    training_minutes: float
    """Minutes inside epochs, without staging and evaluation."""
    evaluation_minutes: float
    other_minutes: float

    @property
    def parts(self) -> tuple[float, float, float, float]:
        return self.staging_minutes, self.training_minutes, self.evaluation_minutes, self.other_minutes

    @property
    def total_minutes(self) -> float:
        return math.fsum(self.parts)


def run_phases(log: RunLog) -> Phases | None:
    """The phases of one run; None if the log has no run_start or no later run_stop."""
    start, stop = log.first("run_start"), log.last("run_stop")
    if start is None or stop is None or stop.time_ms <= start.time_ms:
        return None
    clock = (start.time_ms, stop.time_ms)
    staging = list(_intervals(log, "staging", clock))
    evaluation = list(_intervals(log, "eval", clock))
    epochs = [*_intervals(log, "epoch", clock), *_intervals(log, "block", clock)]
    # Time that lies in several intervals counts once: as staging first, then as evaluation, then as training.
    staged = _covered_ms(staging)
    evaluated = _covered_ms(staging + evaluation)
    trained = _covered_ms(staging + evaluation + epochs)
    return Phases(
        staging_minutes=staged / MS_PER_MINUTE,
        training_minutes=(trained - evaluated) / MS_PER_MINUTE,
        evaluation_minutes=(evaluated - staged) / MS_PER_MINUTE,
        other_minutes=(clock[1] - clock[0] - trained) / MS_PER_MINUTE,
    )


def mean_phases(phases: Iterable[Phases]) -> Phases | None:
    """The mean over runs; None without runs."""
    rows = [run.parts for run in phases]
    if not rows:
        return None
    staging, training, evaluation, other = (math.fsum(column) / len(rows) for column in zip(*rows, strict=True))
    return Phases(
        staging_minutes=staging, training_minutes=training, evaluation_minutes=evaluation, other_minutes=other
    )


def _intervals(log: RunLog, name: str, clock: Interval) -> Iterator[Interval]:
    """Intervals on the clock: marks with an epoch number by that number, others in file order.

    An interval that is open when the clock stops ends there.
    """
    opened: dict[int | None, float] = {}
    for event in sorted(log.until_stop(f"{name}_start") + log.until_stop(f"{name}_stop"), key=attrgetter("line")):
        number = epoch_of(event)
        if event.key.endswith("_start"):
            opened.setdefault(number, event.time_ms)
        elif number in opened or None in opened:
            yield _cut((opened.pop(number if number in opened else None), event.time_ms), clock)
    yield from (_cut((start_ms, clock[1]), clock) for start_ms in opened.values())


def _cut(interval: Interval, clock: Interval) -> Interval:
    return max(interval[0], clock[0]), min(interval[1], clock[1])


def _covered_ms(intervals: Iterable[Interval]) -> float:
    """Length of the union of the intervals."""
    covered, reached = 0.0, -math.inf
    for start, stop in sorted(intervals):
        covered += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return covered
