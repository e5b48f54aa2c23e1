# SPDX-License-Identifier: Apache-2.0
"""Times, epochs and qualities of one run, read from its log: pure functions that checks, score and report share.

Events after run_stop are not part of the run and count for nothing.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from compliance.rulesets.ruleset import Benchmark
from compliance.run_log import Event, RunLog

MS_PER_MINUTE = 60_000
MS_PER_SECOND = 1000
EARLIEST_MS = 1_420_070_400_000  # 2015-01-01; a time in seconds lies in January 1970
LATEST_MS = 4_102_444_800_000  # 2100-01-01


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One training epoch of a run."""

    number: int | None
    """epoch_num; None if it is missing or not a whole number."""
    start: Event
    trained: Event | None
    """The end of training: the epoch's first eval_start, or its epoch_stop without one."""
    stop: Event | None
    """epoch_stop; None if the epoch is open when the run stops."""

    @property
    def training_seconds(self) -> float:
        return 0.0 if self.trained is None else (self.trained.time_ms - self.start.time_ms) / MS_PER_SECOND


def run_minutes(log: RunLog) -> float | None:
    """Minutes from run_start to run_stop; None if one is missing, or if their times cannot be those of a run."""
    start, stop = log.first("run_start"), log.last("run_stop")
    if start is None or stop is None or not EARLIEST_MS <= start.time_ms < stop.time_ms < LATEST_MS:
        return None
    return (stop.time_ms - start.time_ms) / MS_PER_MINUTE


def status_of(log: RunLog) -> object:
    """The status of run_stop: success, aborted, any other logged value, or None."""
    stop = log.last("run_stop")
    return stop.metadata.status if stop is not None and stop.metadata is not None else None


def evaluations(log: RunLog, benchmark: Benchmark) -> Iterator[Event]:
    """Logged qualities that are numbers in the quality's possible range."""
    return (event for event in log.until_stop(benchmark.quality_key) if benchmark.possible.accepts(event.value))


def first_on_target(log: RunLog, benchmark: Benchmark) -> Event | None:
    """The first evaluation that meets the target."""
    return log.remembered(("on target", benchmark), lambda: _first_on_target(log, benchmark))


def _first_on_target(log: RunLog, benchmark: Benchmark) -> Event | None:
    on_target, possible = benchmark.target.accepts, benchmark.possible.accepts
    events = log.until_stop(benchmark.quality_key)
    return next((event for event in events if on_target(event.value) and possible(event.value)), None)


def converged(log: RunLog, benchmark: Benchmark) -> bool:
    """True if a logged evaluation meets the target and the run ended, regardless of the status of run_stop."""
    return log.first("run_stop") is not None and first_on_target(log, benchmark) is not None


def best_evaluation(log: RunLog, benchmark: Benchmark) -> Event | None:
    """The evaluation with the best quality."""
    best = min if benchmark.target.smaller_is_better else max
    return best(evaluations(log, benchmark), key=lambda event: event.value, default=None)


def epoch_of(event: Event) -> int | None:
    """The event's epoch_num; None if it is missing or not a whole number."""
    number = event.metadata.epoch_num if event.metadata is not None else None
    if type(number) is int:
        return number
    return int(number) if isinstance(number, float) and number.is_integer() else None


def whole(value: object) -> int | None:
    """A count or a seed: a whole number, or the text of one, as some frameworks log it. None for anything else."""
    if type(value) is int:  # the usual case
        return value if -1e30 < value < 1e30 else None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 40:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e30 < value < 1e30:
        return None
    return int(value) if value == int(value) else None


def count(log: RunLog, key: str) -> int | None:
    """A logged whole number above zero, otherwise None."""
    number = whole(log.value(key))
    return number if number is not None and 0 < number < 10**15 else None


def epochs(log: RunLog) -> list[Epoch]:
    """The run's epochs in the order of their starts. Their marks are matched by epoch number, since epochs overlap."""
    return log.remembered("epochs", lambda: list(_epochs(log)))


def _epochs(log: RunLog) -> Iterator[Epoch]:
    stops, evaluated = _by_number(log, "epoch_stop"), _by_number(log, "eval_start")
    starts = log.until_stop("epoch_start")
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        number = epoch_of(start)
        stop = _after(start, stops.get(number, ()))
        until = following if stop is None and number is None else stop
        evaluation = _after(start, evaluated.get(number, ())) or _after(start, evaluated.get(None, ()))
        if evaluation is not None and until is not None and evaluation.line > until.line:
            evaluation = None
        yield Epoch(number=number, start=start, trained=evaluation or stop, stop=stop)


def _by_number(log: RunLog, key: str) -> Mapping[int | None, list[Event]]:
    events: dict[int | None, list[Event]] = {}
    for event in log.until_stop(key):
        events.setdefault(epoch_of(event), []).append(event)
    return events


def _after(start: Event, events: Sequence[Event]) -> Event | None:
    """The first of the events, which are in file order, after `start`."""
    if len(events) == 1:  # the usual case
        return events[0] if events[0].line > start.line else None
    index = bisect_right(events, start.line, key=attrgetter("line"))
    return events[index] if index < len(events) else None


def training_seconds(log: RunLog) -> list[tuple[Event, float]]:
    """(epoch_start, seconds of training) of every epoch whose end of training is logged."""
    return [(epoch.start, epoch.training_seconds) for epoch in epochs(log) if epoch.trained is not None]


def typical_seconds(epochs: list[tuple[Event, float]]) -> float:
    """Upper median of the epochs' seconds; zero without epochs."""
    return sorted(seconds for _, seconds in epochs)[len(epochs) // 2] if epochs else 0.0


def clock_text(time_ms: float) -> str:
    """A duration such as 34m12s, with hours if there are any and milliseconds if they are not zero."""
    sign, total_ms = "-" if time_ms < 0 else "", round(abs(time_ms))
    minutes, rest_ms = divmod(total_ms, MS_PER_MINUTE)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest_ms // MS_PER_SECOND:02d}s" if rest_ms % MS_PER_SECOND == 0 else f"{rest_ms / 1000:06.3f}s"
    return f"{sign}{hours}h{minutes:02d}m{seconds}" if hours else f"{sign}{minutes}m{seconds}"
