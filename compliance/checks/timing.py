# SPDX-License-Identifier: Apache-2.0
"""T: the clock: when it starts and stops, what runs before and after it, and whether it ever runs backwards."""

from collections.abc import Iterator

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown
from compliance.run_log import Event, RunLog
from compliance.scoring.run_metrics import MS_PER_MINUTE, MS_PER_SECOND, clock_text, converged
from compliance.submissions.reader import Entry

PAIRS = (("init_start", "init_stop"), ("run_start", "run_stop"), ("staging_start", "staging_stop"))
STAGING_TOLERANCE_S = 1.0  # logged durations of public runs differ from their events by a millisecond
TRAINING_KEYS = ("epoch_start", "epoch_stop", "block_start", "block_stop", "eval_start", "eval_stop")


@rule("T101")
def stops_follow_starts(log: RunLog) -> Iterator[Fault]:
    """Initialization, staging and the run do not stop before they start.

    Why: a negative duration was not measured.
    Example: run_start at 12:00:00, run_stop at 11:40:00 of the same day.
    Fix: submit the log as the run wrote it; log all events from one machine's clock.
    """
    for start_key, stop_key in PAIRS:
        start, stop = log.first(start_key), log.last(stop_key)
        if start is None or stop is None:
            continue
        if stop.time_ms < start.time_ms:
            early = clock_text(start.time_ms - stop.time_ms)
            yield Fault(log.path, f"{stop_key} is {early} before {start_key}", stop.line, expected="after it")


@rule("T102", needs=("T101",))
def init_within_limit(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Initialization ends within the allowed time: 30 minutes in Closed, 4 hours in Open.

    Why: work moved before run_start would not be timed.
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
    """run_start comes after init_stop.

    Why: if the clock starts inside initialization, or initialization continues on the clock, neither time is defined.
    Example: run_start on line 20, init_stop on line 24.
    Fix: log init_stop, then run_start, on one rank.
    """
    init, run = log.last("init_stop"), log.first("run_start")
    if init is not None and run is not None and (run.line < init.line or run.time_ms < init.time_ms):
        yield Fault(log.path, f"run_start is before init_stop (line {init.line})", run.line, expected="after it")


@rule("T104")
def staging_is_on_the_clock(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Staging starts after run_start if the rules time it (MLPerf HPC v0.7 to v2.0).

    Why: until v3.0, copying the data set to the nodes is part of the run.
    Example: staging_start at 0 s, run_start at 40 s.
    Fix: start the clock before the first read from the parallel file system.
    """
    if limits.ruleset.values["clock"]["staging"] != "timed":
        return
    run, staging = log.first("run_start"), log.first("staging_start")
    if run is not None and staging is not None and staging.line < run.line:
        origin = limits.ruleset.origin("clock", "staging")
        yield Fault(log.path, "staging_start is before run_start", staging.line, f"after it ({origin})")


@rule("T105", severity="warning", needs=("T101",))
def staging_duration_is_the_clocks(log: RunLog) -> Iterator[Fault]:
    """staging_duration is the time from staging_start to staging_stop, within one second.

    Why: reports show the duration, but the score uses the clock.
    Example: staging_duration 15.6, but 95 s between the two events.
    Fix: measure the duration around the same block that the events enclose.
    """
    start, stop = log.first("staging_start"), log.first("staging_stop")
    if start is None or stop is None or stop.metadata is None:
        return
    logged = stop.metadata.staging_duration
    if isinstance(logged, bool) or not isinstance(logged, int | float):
        return
    took = (stop.time_ms - start.time_ms) / MS_PER_SECOND
    # A comparison, unlike a subtraction, also survives an integer of 400 digits.
    if not took - STAGING_TOLERANCE_S <= logged <= took + STAGING_TOLERANCE_S:
        yield Fault(log.path, f"staging_duration is {shown(logged)} s", stop.line, f"{took:.3f} s", shown(logged))


def _clock_keys(limits: EntryRules) -> set[str]:
    """Events that the time to train depends on. init_start is not one: every rank may log its own, late."""
    names = limits.ruleset.values["events"]["intervals"]
    keys = {f"{name}_{mark}" for name in names for mark in ("start", "stop")}
    return (keys | {limits.benchmark.quality_key}) - {"init_start"}


@rule("T106", needs=("T101",))
def clock_runs_forward(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The times of interval marks and evaluations do not decrease from line to line, within the logging's tolerance.

    Why: a time that runs backwards comes from another clock, or was changed afterwards. Lines that two threads write
    at once may be out of order by the tolerance of the rule set.
    Example: epoch_start of epoch 5 two minutes before epoch_stop of epoch 4.
    Fix: log from one rank with one clock; submit the log as the run wrote it.
    """
    if log.runs_forward:
        return
    tolerance_ms = limits.ruleset.values["clock"]["logging_tolerance_ms"]
    keys, latest, stop_line = _clock_keys(limits), None, _stop_line(log)
    for event in log.events:
        if event.key not in keys or event.line > stop_line:
            continue
        if latest is not None and event.time_ms < latest.time_ms - tolerance_ms:
            early = clock_text(latest.time_ms - event.time_ms)
            message = f"{event.key} is {early} before {latest.key} (line {latest.line})"
            yield Fault(log.path, message, event.line, expected="times that do not decrease")
            return
        latest = event if latest is None or event.time_ms > latest.time_ms else latest


def _stop_line(log: RunLog) -> int:
    """Line of run_stop; the log's last line without one."""
    stop = log.last("run_stop")
    return log.num_lines if stop is None else stop.line


@rule("T107", severity="warning")
def other_times_run_forward(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The other events of a log are in the order of their times, too.

    Why: lines of several ranks in one file, or a buffer that was written late, are harmless, but hide real faults.
    Example: dropout logged by 128 ranks, in the order in which their buffers were flushed.
    Fix: log from one rank, and flush each line.
    """
    keys, tolerance_ms = _clock_keys(limits), limits.ruleset.values["clock"]["logging_tolerance_ms"]
    late = [(log, event) for log in entry.logs if (event := _first_backwards(log, keys, tolerance_ms)) is not None]
    if late:
        log, event = late[0]
        message = f"{event.key} is earlier than the event before it, in {len(late)} of {len(entry.logs)} logs"
        yield Fault(log.path, message, event.line, expected="times that do not decrease")


def _first_backwards(log: RunLog, clock_keys: set[str], tolerance_ms: float) -> Event | None:
    latest_ms: float = 0
    for event in () if log.runs_forward else log.events:
        if event.time_ms < latest_ms - tolerance_ms and event.key not in clock_keys:
            return event
        latest_ms = event.time_ms
    return None


@rule("T108")
def data_is_touched_on_the_clock(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """No epoch, block or evaluation comes before run_start.

    Why: training before the clock starts is not timed.
    Example: epoch_start on line 30, run_start on line 44.
    Fix: log run_start before the first batch is read.
    """
    run = log.first("run_start")
    if run is None:
        return
    for key in ("epoch_start", "block_start", "eval_start", limits.benchmark.quality_key):
        event = log.first(key)
        if event is not None and event.line < run.line:
            yield Fault(log.path, f"{key} is before run_start", event.line, f"after line {run.line}")
            return


@rule("T109")
def target_is_met_on_the_clock(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The evaluation that meets the target comes before run_stop.

    Why: an evaluation after run_stop was not timed.
    Example: run_stop on line 80, eval_error 0.1239 on line 83.
    Fix: log run_stop after the last evaluation.
    """
    stop, key = log.last("run_stop"), limits.benchmark.quality_key
    if stop is None or converged(log, limits.benchmark):
        return
    for event in log.all(key):
        if event.line > stop.line and limits.benchmark.target.accepts(event.value):
            message = f"{key} {shown(event.value)} meets the target after run_stop"
            yield Fault(log.path, message, event.line, f"before line {stop.line}")
            return


@rule("T110", severity="warning")
def runs_have_the_system_alone(entry: Entry) -> Iterator[Fault]:
    """The runs of a time-to-train entry do not overlap in time.

    Why: two runs at once used parts of the system, which the description should say, or are not two runs.
    Example: result_1 starts before result_0 stops.
    Fix: start one run after the other, or describe the part of the system that each run had.
    """
    if entry.scaling == "weak":
        return
    overlaps, busy_until_ms, busy_log = [], 0.0, ""
    for start_ms, stop_ms, line, log in sorted(_spans(entry), key=lambda span: span[:2]):
        if start_ms < busy_until_ms:
            overlaps.append((log, line, busy_log))
        if stop_ms > busy_until_ms:
            busy_until_ms, busy_log = stop_ms, log.path.name
    if overlaps:
        log, line, other = overlaps[0]
        more = f"; {len(overlaps)} runs of the entry do so" if len(overlaps) > 1 else ""
        yield Fault(log.path, f"starts before {other} stops{more}", line, expected="one run after the other")


def _spans(entry: Entry) -> Iterator[tuple[float, float, int, RunLog]]:
    """(start, stop, line of run_start, log) of the runs that have both marks."""
    for log in entry.runs:
        start, stop = log.first("run_start"), log.last("run_stop")
        if start is not None and stop is not None:
            yield start.time_ms, stop.time_ms, start.line, log


@rule("T112")
def caches_are_dropped_before_the_clock(log: RunLog) -> Iterator[Fault]:
    """cache_clear comes before run_start.

    Why: caches are dropped to make the run read its data from storage; dropping them later proves nothing.
    Example: run_start on line 30, cache_clear on line 31.
    Fix: drop the caches and log it before initialization.
    """
    run, clear = log.first("run_start"), log.first("cache_clear")
    if run is not None and clear is not None and clear.line > run.line:
        yield Fault(log.path, "cache_clear is after run_start", clear.line, f"before line {run.line}")


@rule("T113")
def runs_are_uninterrupted(log: RunLog) -> Iterator[Fault]:
    """A run goes from run_start to run_stop without a restart, and does not start from a checkpoint of its own.

    Why: a resumed run has lost time that its clock may not show, and work that its log does not show.
    Example: killed in epoch 9 at the job's time limit, resumed from the checkpoint of epoch 8; "checkpoint": "e8.pt".
    Fix: repeat the run without an interruption; resumed runs are for development.
    """
    start = log.first("run_start")
    for restart in log.all("restart"):
        if start is not None and restart.line > start.line:
            epoch = getattr(restart.metadata, "epoch_num", None)
            after = f" after epoch {shown(epoch)}" if epoch is not None else ""
            yield Fault(log.path, f"the run was resumed from a checkpoint{after}", restart.line, expected="no restart")
    loaded = log.first("checkpoint")
    if loaded is not None and loaded.value not in (None, "", False):
        yield Fault(log.path, f"checkpoint is {shown(loaded.value)}", loaded.line, "null: no checkpoint was loaded")


@rule("T114", severity="warning", needs=("T109",))
def training_ends_with_the_clock(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """No epoch, block or evaluation comes after run_stop.

    Why: such events are not part of the run and are ignored; a reader may take them for part of it.
    Example: run_stop on line 80, epoch_stop on line 81, as asynchronous evaluation logs it.
    Fix: close the last epoch before run_stop.
    """
    stop = log.last("run_stop")
    if stop is None:
        return
    late = [log.last(key) for key in (*TRAINING_KEYS, limits.benchmark.quality_key)]
    after = [event for event in late if event is not None and event.line > stop.line]
    if after:
        keys = ", ".join(dict.fromkeys(event.key for event in after))
        first = min(after, key=lambda event: event.line)
        yield Fault(log.path, f"{keys} after run_stop (ignored)", first.line, f"before line {stop.line}")


@rule("T115")
def caches_were_dropped(log: RunLog) -> Iterator[Fault]:
    """cache_clear does not say that the caches were not dropped.

    Why: with the data in the page cache, staging and the first epoch read from memory.
    Example: cache_clear with the value false.
    Fix: drop the caches on all nodes before the run; it needs root or a job prologue.
    """
    for event in log.all("cache_clear"):
        if event.value is False:
            yield Fault(log.path, "cache_clear is false", event.line, "caches dropped", "false")
            return


@rule("T901", severity="manual")
def data_was_cold(entry: Entry) -> Iterator[Fault]:
    """The clock started before any part of the system touched the data set, and caches on the nodes were dropped.

    Why: with a warm page cache, or a process that had read the data before, staging takes no time.
    Example: cache_clear logged by a script whose drop_caches line is commented out.
    Fix: read run_and_time.sh and the code around cache_clear and run_start.
    """
    yield Fault(entry.folder, "check by hand that caches were dropped and the data was not read before run_start")
