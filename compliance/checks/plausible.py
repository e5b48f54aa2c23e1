# SPDX-License-Identifier: Apache-2.0
"""T: times that a real run does not have: impossible dates, durations of zero, long pauses, odd epochs."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.run_log import Event, RunLog
from compliance.scoring.run_metrics import (
    EARLIEST_MS,
    MS_PER_SECOND,
    clock_text,
    epochs,
    training_seconds,
    typical_seconds,
)
from compliance.submissions.reader import Entry

MS_PER_DAY = 86_400_000
MARKS = ("epoch_start", "epoch_stop", "eval_start", "eval_stop")


@rule("T111", severity="warning")
def epochs_are_alike(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """No epoch but the first trains faster or slower than the run's median epoch by more than the stated factor.

    Why: an epoch in a fraction of the usual time trained on a fraction of the samples; one that took a multiple of it
    was interrupted.
    Example: median 4.1 s per epoch, epoch 7 in 0.5 s: 8.2 times the median samples/s.
    Fix: explain the epoch, or repeat the run.
    """
    factor = limits.ruleset.values["plausible"]["throughput_factor"]
    if not limits.benchmark.evaluation_every_epoch:  # a run may stop in the middle of its last epoch
        return
    epochs = training_seconds(log)[1:]
    typical = typical_seconds(epochs)
    for start, seconds in epochs:
        if typical > seconds * factor or seconds > typical * factor:
            ratio = f"{typical / seconds:.3g}" if seconds > 0 else "infinitely many"
            message = f"epoch trains in {seconds:.3f} s, {ratio} times the samples/s of the median epoch"
            origin = limits.ruleset.origin("plausible", "throughput_factor")
            yield Fault(log.path, message, start.line, expected=f"between 1/{factor} and {factor} times ({origin})")
            return


@rule("T116")
def times_are_dates_of_a_run(log: RunLog) -> Iterator[Fault]:
    """Every time_ms is a time between 2015 and today, in milliseconds since 1970.

    Why: times in seconds lie in January 1970 and make a run a thousand times shorter; a run in the future did not run.
    Example: time_ms 1697000000 instead of 1697000000000.
    Fix: log with mlperf-logging, which takes the time in milliseconds; set the clock of the machine.
    """
    latest_ms = (datetime.now(UTC) + timedelta(days=1)).timestamp() * MS_PER_SECOND
    first = next((event for event in log.events if not EARLIEST_MS <= event.time_ms <= latest_ms), None)
    if first is not None:
        unit = "; is it in seconds?" if first.time_ms * MS_PER_SECOND > EARLIEST_MS > first.time_ms else ""
        day = datetime.fromtimestamp(first.time_ms / MS_PER_SECOND, UTC).date()
        message = f"{first.key}: time_ms is {first.time_ms:.15g}, which is {day}{unit}"
        yield Fault(log.path, message, first.line, expected="milliseconds since 1970, between 2015 and today")


@rule("T117", severity="warning")
def entry_was_run_in_one_campaign(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The runs of an entry started within the stated number of days.

    Why: runs that lie months apart had other software or hardware, or were selected from many.
    Example: result_0 to result_8 in September, result_9 in June.
    Fix: run all runs of an entry on the system as described, one after the other.
    """
    starts = [(start.time_ms, start.line, log) for log in entry.logs if (start := log.first("run_start")) is not None]
    most = limits.ruleset.values["plausible"]["entry_days"]
    ordered = sorted(starts, key=lambda start: start[:2])
    for (before_ms, _, before), (start_ms, line, log) in pairwise(ordered):
        if start_ms - before_ms > most * MS_PER_DAY:
            days = (start_ms - before_ms) / MS_PER_DAY
            origin = limits.ruleset.origin("plausible", "entry_days")
            message = f"starts {days:.0f} days after {before.path.name}"
            yield Fault(log.path, message, line, f"at most {most} days ({origin})", f"{days:.0f}")
            return


@rule("T118", severity="warning", needs=("T101", "T116"))
def runs_do_not_pause(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """No part of a run takes the stated time longer than usual, and no such time passes outside its parts.

    Why: in a pause the run was interrupted, or its log continues with another clock.
    Example: 61 minutes from eval_stop of epoch 6 to epoch_stop, 0.2 s in all other epochs.
    Fix: repeat the run; find out what the system did in the pause.
    """
    longest_ms = limits.ruleset.values["plausible"]["pause_minutes"] * 60 * MS_PER_SECOND
    if not log.events or log.events[-1].time_ms - log.events[0].time_ms <= longest_ms:
        return
    stop_line = _stop_line(log)
    marks = [event for event in log.in_order(*MARKS) if event.line <= stop_line]
    for before, after in (*_pauses(marks, longest_ms), *_outer_pauses(log, marks, longest_ms)):
        took = clock_text(after.time_ms - before.time_ms)
        origin = limits.ruleset.origin("plausible", "pause_minutes")
        expected = f"at most {clock_text(longest_ms)} more than usual ({origin})"
        yield Fault(log.path, f"{took} from {before.key} (line {before.line}) to {after.key}", after.line, expected)
        return


def _stop_line(log: RunLog) -> int:
    stop = log.last("run_stop")
    return log.num_lines if stop is None else stop.line


def _pauses(marks: Sequence[Event], longest_ms: float) -> Iterator[tuple[Event, Event]]:
    """Pairs of successive marks that took longer than the median of their kind by more than `longest_ms`."""
    if all(after.time_ms - before.time_ms <= longest_ms for before, after in pairwise(marks)):
        return
    steps: dict[tuple[str, str], list[tuple[Event, Event]]] = {}
    for before, after in pairwise(marks):
        steps.setdefault((before.key, after.key), []).append((before, after))
    for pairs in steps.values():
        usual_ms = sorted(after.time_ms - before.time_ms for before, after in pairs)[(len(pairs) - 1) // 2]
        for before, after in pairs:
            if after.time_ms - before.time_ms > usual_ms + longest_ms:
                yield before, after


def _outer_pauses(log: RunLog, marks: Sequence[Event], longest_ms: float) -> Iterator[tuple[Event, Event]]:
    """Long times between the ends of the log, of initialization and of the run, and the marks next to them."""
    staging = sum(
        stop.time_ms - start.time_ms
        for start, stop in zip(log.all("staging_start"), log.all("staging_stop"), strict=False)
    )
    ends = (
        (log.events[0], log.first("init_start"), 0.0),
        (log.last("init_stop"), log.first("run_start"), 0.0),
        (log.first("run_start"), marks[0] if marks else None, staging),
        (marks[-1] if marks else None, log.last("run_stop"), 0.0),
    )
    for before, after, excused_ms in ends:
        if before is not None and after is not None and after.time_ms - before.time_ms > longest_ms + excused_ms:
            yield before, after


@rule("T119", severity="warning", needs=("T101",))
def parts_of_a_run_take_time(log: RunLog) -> Iterator[Fault]:
    """The run, every epoch and every evaluation take at least a millisecond.

    Why: an evaluation of no time was not computed, and an epoch of no time not trained.
    Example: eval_start and eval_stop at the same millisecond.
    Fix: log the marks around the evaluation itself; submit the log as the run wrote it.
    """
    run, stop = log.first("run_start"), log.last("run_stop")
    if run is not None and stop is not None and run.time_ms == stop.time_ms:
        yield Fault(log.path, "a run of no time", stop.line, "at least 1 ms")
        return
    for epoch in epochs(log):
        if epoch.trained is not None and epoch.trained.time_ms <= epoch.start.time_ms:
            yield Fault(log.path, "an epoch of no time", epoch.start.line, "at least 1 ms")
            return
    started: dict[object, Event] = {}
    for event in log.in_order("eval_start", "eval_stop"):
        number = event.metadata.epoch_num if event.metadata is not None else None
        if event.key == "eval_start":
            started[number] = event
        elif (start := started.pop(number, None)) is not None and event.time_ms <= start.time_ms:
            yield Fault(log.path, "an evaluation of no time", start.line, "at least 1 ms")
            return
