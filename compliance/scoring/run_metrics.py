# SPDX-License-Identifier: Apache-2.0
"""What one run's log says of its clock and its quality: pure functions that checks, score and report share."""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from compliance.mllog import Event, RunLog
from compliance.rulesets.ruleset import Benchmark

MS_PER_MINUTE = 60_000
MS_PER_SECOND = 1000

_ON_TARGET: WeakKeyDictionary[RunLog, dict[Benchmark, Event | None]] = WeakKeyDictionary()
"""What `first_on_target` found before: a dozen rules and the score ask it of every log."""


def run_minutes(log: RunLog) -> float | None:
    """run_stop - run_start; None where either is missing."""
    start, stop = log.first("run_start"), log.last("run_stop")
    return None if start is None or stop is None else (stop.time_ms - start.time_ms) / MS_PER_MINUTE


def status_of(log: RunLog) -> object:
    """What run_stop says of the run: success, aborted, whatever else stands there, or None."""
    stop = log.last("run_stop")
    return stop.metadata.status if stop is not None and stop.metadata is not None else None


def evaluations(log: RunLog, benchmark: Benchmark) -> Iterator[Event]:
    """Logged qualities that are numbers within what the quality can be at all."""
    return (event for event in log.all(benchmark.quality_key) if benchmark.possible.accepts(event.value))


def first_on_target(log: RunLog, benchmark: Benchmark) -> Event | None:
    """The first evaluation that meets the target."""
    known = _ON_TARGET.setdefault(log, {})
    if benchmark not in known:
        on_target, possible = benchmark.target.accepts, benchmark.possible.accepts
        events = log.all(benchmark.quality_key)
        met = (event for event in events if on_target(event.value) and possible(event.value))
        known[benchmark] = next(met, None)
    return known[benchmark]


def converged(log: RunLog, benchmark: Benchmark) -> bool:
    """Whether a logged evaluation meets the target in a run that ended, whatever run_stop's status says."""
    return log.first("run_stop") is not None and first_on_target(log, benchmark) is not None


def best_evaluation(log: RunLog, benchmark: Benchmark) -> Event | None:
    """The evaluation nearest to the target, or furthest beyond it."""
    best = min if benchmark.target.smaller_is_better else max
    return best(evaluations(log, benchmark), key=lambda event: event.value, default=None)


def epoch_of(event: Event) -> int | None:
    """The event's epoch_num; None where it is missing or no whole number."""
    number = event.metadata.epoch_num if event.metadata is not None else None
    if type(number) is int:
        return number
    return int(number) if isinstance(number, float) and number.is_integer() else None


def training_seconds(log: RunLog) -> list[tuple[Event, float]]:
    """Every epoch's start with the seconds that it trained: up to its evaluation, or its stop where it has none."""
    found, start = [], None
    for event in log.in_order("epoch_start", "eval_start", "epoch_stop"):
        if event.key == "epoch_start":
            start = event
        elif start is not None:
            found.append((start, (event.time_ms - start.time_ms) / MS_PER_SECOND))
            start = None
    return found


def typical_seconds(epochs: list[tuple[Event, float]]) -> float:
    """Upper median over the epochs; zero where there are none."""
    return sorted(seconds for _, seconds in epochs)[len(epochs) // 2] if epochs else 0.0


def clock_text(time_ms: float) -> str:
    """34m12s; with hours where there are any, with milliseconds where they are not zero."""
    sign, total_ms = "-" if time_ms < 0 else "", round(abs(time_ms))
    minutes, rest_ms = divmod(total_ms, MS_PER_MINUTE)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest_ms // MS_PER_SECOND:02d}s" if rest_ms % MS_PER_SECOND == 0 else f"{rest_ms / 1000:06.3f}s"
    return f"{sign}{hours}h{minutes:02d}m{seconds}" if hours else f"{sign}{minutes}m{seconds}"
