# SPDX-License-Identifier: Apache-2.0
"""T: the clock. When it starts, what runs before it, and whether it ever runs backwards."""

from collections.abc import Iterator

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown
from compliance.mllog import Event, RunLog
from compliance.scoring.run_metrics import MS_PER_MINUTE, MS_PER_SECOND, clock_text, training_seconds, typical_seconds
from compliance.submissions.reader import Entry

PAIRS = (("init_start", "init_stop"), ("run_start", "run_stop"), ("staging_start", "staging_stop"))
STAGING_TOLERANCE_S = 1.0  # logged durations of public runs differ from their events by a millisecond


@rule("T101")
def stops_follow_starts(log: RunLog) -> Iterator[Fault]:
    """Initialisation, staging and the run itself stop later than they start.

    Why: a negative duration is no measurement.
    Example: run_start at 12:00:00, run_stop at 11:40:00 of the same day.
    Fix: submit the log as the run wrote it; log all events from one machine's clock.
    """
    for start_key, stop_key in PAIRS:
        start, stop = log.first(start_key), log.last(stop_key)
        if start is not None and stop is not None and stop.time_ms < start.time_ms:
            early = clock_text(start.time_ms - stop.time_ms)
            yield Fault(log.path, f"{stop_key} is {early} before {start_key}", stop.line, expected="after it")


@rule("T102", needs=("T101",))
def init_within_limit(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Initialisation ends within the allowed time: 30 minutes in Closed, 4 hours in Open.

    Why: work moved before run_start would be free.
    Example: init_start at 0 s, init_stop at 2052 s, limit 1800 s.
    Fix: move training work after run_start; build and load less before it.
    """
    limit_minutes = limits.ruleset.values["clock"]["init_limit_minutes"].get(limits.division)
    start, stop = log.first("init_start"), log.last("init_stop")
    if limit_minutes is None or start is None or stop is None:
        return
    took_ms = stop.time_ms - start.time_ms
    if took_ms > limit_minutes * MS_PER_MINUTE:
        origin = limits.ruleset.origin("clock", "init_limit_minutes", limits.division)
        expected = f"at most {clock_text(limit_minutes * MS_PER_MINUTE)} ({origin})"
        yield Fault(log.path, f"init took {clock_text(took_ms)}", stop.line, expected, clock_text(took_ms))


@rule("T103", needs=("T101",))
def run_starts_after_init(log: RunLog) -> Iterator[Fault]:
    """run_start stands after init_stop.

    Why: initialisation that goes on while the clock runs, or a clock that starts inside it, is measured twice or not.
    Example: run_start on line 20, init_stop on line 24.
    Fix: log init_stop, then run_start, on one rank.
    """
    init, run = log.last("init_stop"), log.first("run_start")
    if init is not None and run is not None and (run.line < init.line or run.time_ms < init.time_ms):
        yield Fault(log.path, f"run_start stands before init_stop (line {init.line})", run.line, expected="after it")


@rule("T104")
def staging_is_on_the_clock(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Staging starts after run_start where the rules time it (MLPerf HPC v0.7 to v2.0).

    Why: copying the data set to the nodes is part of the job until v3.0.
    Example: staging_start at 0 s, run_start at 40 s.
    Fix: start the clock before the first read from the parallel file system.
    """
    if limits.ruleset.values["clock"]["staging"] != "timed":
        return
    run, staging = log.first("run_start"), log.first("staging_start")
    if run is not None and staging is not None and staging.line < run.line:
        origin = limits.ruleset.origin("clock", "staging")
        yield Fault(log.path, "staging_start stands before run_start", staging.line, f"after it ({origin})")


@rule("T105", severity="warning", needs=("T101",))
def staging_took_what_it_says(log: RunLog) -> Iterator[Fault]:
    """staging_duration is the time from staging_start to staging_stop, to within a second.

    Why: the duration is what reports show; the clock is what counts.
    Example: staging_duration 15.6, but 95 s between the two events.
    Fix: measure the duration around the same block that the events enclose.
    """
    start, stop = log.first("staging_start"), log.first("staging_stop")
    said = stop.metadata.staging_duration if stop is not None and stop.metadata is not None else None
    if start is None or isinstance(said, bool) or not isinstance(said, int | float):
        return
    took = (stop.time_ms - start.time_ms) / MS_PER_SECOND
    # Comparing, unlike subtracting, also survives an integer of 400 digits.
    if not took - STAGING_TOLERANCE_S <= said <= took + STAGING_TOLERANCE_S:
        yield Fault(log.path, f"staging_duration is {shown(said)} s", stop.line, f"{took:.3f} s", shown(said))


def _clock_keys(limits: EntryRules) -> set[str]:
    """Events that the time to train hangs on. init_start is not among them: every rank may log its own, late."""
    names = limits.ruleset.values["events"]["intervals"]
    keys = {f"{name}_{mark}" for name in names for mark in ("start", "stop")}
    return (keys | {limits.benchmark.quality_key}) - {"init_start"}


@rule("T106", needs=("T101",))
def clock_runs_forward(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Interval marks and evaluations have times that never decrease from line to line.

    Why: a time that runs backwards was written by another clock, or changed afterwards.
    Example: epoch_start of epoch 5 two minutes before epoch_stop of epoch 4.
    Fix: log from one rank with one clock; submit the log as the run wrote it.
    """
    if log.runs_forward:
        return
    keys, before = _clock_keys(limits), None
    for event in log.events:
        if event.key not in keys:
            continue
        if before is not None and event.time_ms < before.time_ms:
            early = clock_text(before.time_ms - event.time_ms)
            message = f"{event.key} is {early} before {before.key} (line {before.line})"
            yield Fault(log.path, message, event.line, expected="times that do not decrease")
            return
        before = event


@rule("T107", severity="warning")
def other_times_run_forward(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The other events of a log, too, stand in the order of their times.

    Why: lines of several ranks in one file, or a buffer written late; harmless, but it hides what is not.
    Example: dropout logged by 128 ranks, in the order in which their buffers were flushed.
    Fix: let one rank log, and flush each line.
    """
    keys = _clock_keys(limits)
    late = [(log, event) for log in entry.logs if (event := _first_backwards(log, keys)) is not None]
    if late:
        log, event = late[0]
        message = f"{event.key} is earlier than the event before it; so in {len(late)} of {len(entry.logs)} logs"
        yield Fault(log.path, message, event.line, expected="times that do not decrease")


def _first_backwards(log: RunLog, clock_keys: set[str]) -> Event | None:
    before_ms = 0
    for event in () if log.runs_forward else log.events:
        if event.time_ms < before_ms and event.key not in clock_keys:
            return event
        before_ms = event.time_ms
    return None


@rule("T108")
def data_is_touched_on_the_clock(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """No epoch, block or evaluation stands before run_start.

    Why: training before the clock starts is free.
    Example: epoch_start on line 30, run_start on line 44.
    Fix: log run_start before the first batch is read.
    """
    run = log.first("run_start")
    if run is None:
        return
    for key in ("epoch_start", "block_start", "eval_start", limits.benchmark.quality_key):
        event = log.first(key)
        if event is not None and event.line < run.line:
            yield Fault(log.path, f"{key} stands before run_start", event.line, f"after line {run.line}")
            return


@rule("T109")
def training_ends_with_the_clock(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """No epoch, block or evaluation stands after run_stop.

    Why: an evaluation after the clock has stopped is one that was not timed.
    Example: run_stop on line 80, eval_error on line 83.
    Fix: log run_stop after the last evaluation.
    """
    stop = log.last("run_stop")
    if stop is None:
        return
    for key in ("epoch_start", "epoch_stop", "block_start", "eval_start", "eval_stop", limits.benchmark.quality_key):
        event = log.last(key)
        if event is not None and event.line > stop.line:
            yield Fault(log.path, f"{key} stands after run_stop", event.line, f"before line {stop.line}")
            return


@rule("T110", severity="warning")
def runs_have_the_system_alone(entry: Entry) -> Iterator[Fault]:
    """The runs of a time-to-train entry do not overlap in time.

    Why: two runs at once are either on parts of the system, which the description should say, or no two runs.
    Example: result_1 starts before result_0 stops.
    Fix: run one after the other, or describe the part of the system that each run had.
    """
    if entry.scaling == "weak":
        return
    spans = [(log.first("run_start"), log.last("run_stop"), log) for log in entry.runs]
    spans = sorted(
        ((start.time_ms, stop.time_ms, start.line, log) for start, stop, log in spans if start and stop),
        key=lambda span: span[:2],
    )
    overlaps, busy_until_ms, busy_log = [], 0, None
    for start_ms, stop_ms, line, log in spans:
        if start_ms < busy_until_ms:
            overlaps.append((log, line, busy_log))
        if stop_ms > busy_until_ms:
            busy_until_ms, busy_log = stop_ms, log
    if overlaps:
        log, line, other = overlaps[0]
        more = f"; {len(overlaps)} runs of the entry do so" if len(overlaps) > 1 else ""
        yield Fault(log.path, f"starts before {other.path.name} stops{more}", line, expected="one run after the other")


@rule("T111", severity="warning")
def throughput_is_plausible(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """No epoch but the first trains faster or slower than the run's median epoch by more than the stated factor.

    Why: an epoch that took a fraction of the others' time saw a fraction of their samples; one that took a multiple
    was interrupted.
    Example: median 4.1 s an epoch, epoch 7 in 0.5 s: 8.2 times the median samples/s.
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


@rule("T112")
def caches_are_dropped_before_the_clock(log: RunLog) -> Iterator[Fault]:
    """cache_clear stands before run_start.

    Why: caches are dropped so that the run reads its data from storage; later it proves nothing.
    Example: run_start on line 30, cache_clear on line 31.
    Fix: drop the caches and log it before initialisation.
    """
    run, clear = log.first("run_start"), log.first("cache_clear")
    if run is not None and clear is not None and clear.line > run.line:
        yield Fault(log.path, "cache_clear stands after run_start", clear.line, f"before line {run.line}")


@rule("T113")
def runs_are_uninterrupted(log: RunLog) -> Iterator[Fault]:
    """A run goes from run_start to run_stop without a restart.

    Why: a run resumed from a checkpoint has lost time that its clock may not show, and work that its log does not.
    Example: killed in epoch 9 at the job's time limit, resumed from the checkpoint of epoch 8.
    Fix: repeat the run in one go; a resumed run serves development, not a result.
    """
    start = log.first("run_start")
    for restart in log.all("restart"):
        if start is not None and restart.line > start.line:
            epoch = getattr(restart.metadata, "epoch_num", None)
            after = f" after epoch {shown(epoch)}" if epoch is not None else ""
            yield Fault(log.path, f"the run was resumed from a checkpoint{after}", restart.line, expected="no restart")


@rule("T901", severity="manual")
def data_was_cold(entry: Entry) -> Iterator[Fault]:
    """The clock started before any part of the system touched the data set, and caches on the nodes were dropped.

    Why: a warm page cache, or a process that had read the data before, makes staging free. No log proves it.
    Example: cache_clear logged by a script whose drop_caches line is commented out.
    Fix: a reviewer reads run_and_time.sh and the code around cache_clear and run_start.
    """
    yield Fault(entry.folder, "not provable from logs: caches dropped, data untouched before run_start")
