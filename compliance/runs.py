# SPDX-License-Identifier: Apache-2.0
"""What one run's log says of its clock and its quality: pure functions that checks, score and report share."""

from collections.abc import Iterator

from compliance.mllog import Event, RunLog
from compliance.ruleset import Benchmark

MS_PER_MINUTE = 60_000


def run_minutes(log: RunLog) -> float | None:
    """run_stop - run_start; None where either is missing."""
    start, stop = log.first("run_start"), log.last("run_stop")
    return None if start is None or stop is None else (stop.time_ms - start.time_ms) / MS_PER_MINUTE


def evaluations(log: RunLog, benchmark: Benchmark) -> Iterator[Event]:
    """Logged qualities that are numbers within what the quality can be at all."""
    return (event for event in log.all(benchmark.quality_key) if benchmark.possible.accepts(event.value))


def first_on_target(log: RunLog, benchmark: Benchmark) -> Event | None:
    """The first evaluation that meets the target."""
    return next((event for event in evaluations(log, benchmark) if benchmark.target.accepts(event.value)), None)


def converged(log: RunLog, benchmark: Benchmark) -> bool:
    """Whether a logged evaluation meets the target in a run that ended, whatever run_stop's status says."""
    return log.first("run_stop") is not None and first_on_target(log, benchmark) is not None
