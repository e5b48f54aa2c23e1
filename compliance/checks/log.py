# SPDX-License-Identifier: Apache-2.0
"""L: the log itself: its lines, keys, interval marks and epoch numbers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown, unaccepted
from compliance.rulesets.ruleset import RuleSet
from compliance.run_log import EVENT_TYPES, MAX_EVENTS, Event, RunLog
from compliance.scoring.run_metrics import epoch_of
from compliance.submissions.reader import Entry

TRAINING = ("epoch", "block", "eval")
PLACEHOLDER = "PLACEHOLDER"  # logged by public reference code until somebody fills in the value


@rule("L101")
def log_holds_events(log: RunLog) -> Iterator[Fault]:
    """A log holds at least one event.

    Why: without `:::MLLOG` lines there is nothing to time or to check.
    Example: an empty result_3.txt; a compressed log; a log of mlperf-logging before v0.7, with `:::MLL` lines.
    Fix: submit the file that the run's event log was written to, as plain text.
    """
    if log.events:
        return
    if log.file_type:
        yield Fault(log.path, log.file_type.partition(";")[0], expected="a log as plain text;" + _hint(log.file_type))
    elif log.num_older:
        message = f"{log.num_older} lines in the format of mlperf-logging before v0.7 (:::MLL)"
        yield Fault(log.path, message, expected=":::MLLOG events; run again with mlperf-logging 0.7 or later")
    else:
        yield Fault(log.path, f"no :::MLLOG event in {log.num_bytes} bytes", expected="at least one")


def _hint(file_type: str) -> str:
    return file_type.partition(";")[2]


@rule("L102")
def marked_lines_are_events(log: RunLog) -> Iterator[Fault]:
    """Every line with the `:::MLLOG` marker is one event: a JSON object with one key, value, time_ms and event_type.

    Why: an event that cannot be read, or that has two values, may be the one that matters.
    Example: a line that was truncated because two ranks wrote into one file; a line with "value" twice.
    Fix: let one rank write the log and flush it line by line; never edit it.
    """
    for bad in log.bad_lines:
        yield Fault(log.path, bad.reason, bad.line, expected="one event")
    unnamed = log.num_bad_lines - len(log.bad_lines)
    if unnamed:
        yield Fault(log.path, f"{unnamed} more lines that are not one event")


@rule("L103")
def log_is_short_enough(log: RunLog) -> Iterator[Fault]:
    """A log has at most 20,000 interval marks, evaluations and values. Further losses per step do not count.

    Why: later ones are not checked. The longest public log has some three thousand.
    Example: one eval_start per training step over 200,000 steps.
    Fix: log marks once per epoch and evaluation.
    """
    if log.num_unkept:
        found = str(log.num_events)
        message = f"too many events to check: {log.num_unkept} of {found} were not read"
        yield Fault(log.path, message, expected=f"about {MAX_EVENTS} at most", found=found)


@rule("L104", needs=("L101",))
def required_keys_are_logged(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A log has every key that the rules require.

    Why: these events give the organization, the system and the times of the run.
    Example: a log that ends without run_stop because the job was killed.
    Fix: log the key in the run; repeat a run that was killed.
    """
    for key in _required(limits.ruleset):
        if key not in log.by_key:
            yield Fault(log.path, f"{key} is missing", expected=f"an event ({_origin(limits, key)})")
    for keys in limits.ruleset.values["events"]["at_least_one_of"]:
        if not any(key in log.by_key for key in keys):
            origin = limits.ruleset.origin("events", "at_least_one_of")
            yield Fault(log.path, f"{' or '.join(keys)} is missing", expected=f"an event ({origin})")


@cache
def _required(ruleset: RuleSet) -> tuple[str, ...]:
    """The required keys, without repetition."""
    events = ruleset.values["events"]
    common = (key for key, words in ruleset.values["keys"].items() if not words.get("optional"))
    return tuple(dict.fromkeys((*events["exactly_once"], *events["at_least_once"], *common)))


def _origin(limits: EntryRules, key: str) -> str:
    """Name of the rule file that requires the key."""
    for name in ("exactly_once", "at_least_once"):
        if key in limits.ruleset.values["events"][name]:
            return limits.ruleset.origin("events", name)
    return limits.ruleset.origin("keys", key)


def _repeated(log: RunLog, key: str) -> list[Event]:
    """The key's events if it has several."""
    events = log.all(key)
    return events if len(events) > 1 else []


def _is_equal(events: Sequence[Event]) -> bool:
    """True for a value that several ranks logged; several marks of the clock are never equal."""
    return not events[0].key.endswith(("_start", "_stop")) and all(e.value == events[0].value for e in events)


@rule("L105")
def keys_appear_once(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A key that the rules require exactly once appears once, or several times with the same value (L118).

    Why: two run_starts are two clocks, and two batch sizes are two configurations; only one was run.
    Example: the output of two runs appended to one file.
    Fix: write each run's log into a new file.
    """
    for key in limits.ruleset.values["events"]["exactly_once"]:
        events = _repeated(log, key)
        if events and not _is_equal(events):
            yield Fault(log.path, f"{key} appears {len(events)} times", events[1].line, expected="once")


@rule("L106")
def common_values_are_allowed(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The values of keys in every log (division, status, batch size, nodes, seed) are of the kind that the rules name.

    Why: NaN or text instead of a number cannot be compared, and an unknown division has no rules.
    Example: global_batch_size logged as "512 samples"; submission_division "close".
    Fix: log the value itself, in the words and the type that the rules give.
    """
    yield from unaccepted(entry, limits.ruleset.keys(), limits, "keys")


@rule("L107")
def benchmark_is_the_folders(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """submission_benchmark is the benchmark of the log's folder.

    Why: a log in the wrong folder is compared with another benchmark's target.
    Example: a cosmoflow log under results/<system>/strong/deepcam/.
    Fix: move the log to its benchmark's folder.
    """
    event = log.first("submission_benchmark")
    if event is not None and event.value != limits.benchmark.name:
        found = shown(event.value)
        message = f"submission_benchmark is {found}"
        yield Fault(log.path, message, event.line, expected=repr(limits.benchmark.name), found=found)


@rule("L108")
def event_types_are_known(log: RunLog) -> Iterator[Fault]:
    """event_type is POINT_IN_TIME, INTERVAL_START or INTERVAL_END.

    Why: the log format has no others.
    Example: "event_type": "INTERVAL_STOP".
    Fix: write events with mlperf-logging's start, end and event.
    """
    unknown = [event for event in log.events if event.event_type not in EVENT_TYPES]
    if unknown:
        first, more = unknown[0], f" (and in {len(unknown) - 1} more events)" if len(unknown) > 1 else ""
        message = f"{first.key}: event_type is {first.event_type!r:.40}{more}"
        yield Fault(log.path, message, first.line, expected="one of " + ", ".join(EVENT_TYPES))


@rule("L109", severity="warning")
def marks_have_their_type(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The start of an interval is an INTERVAL_START, its stop an INTERVAL_END.

    Why: tools that pair intervals by type misread the log; this checker pairs them by key.
    Example: eval_stop logged as INTERVAL_START, as in several public logs.
    Fix: log starts with mllogger.start and stops with mllogger.end.
    """
    expected = {
        f"{name}_{mark}": event_type
        for name in limits.ruleset.values["events"]["intervals"]
        for mark, event_type in (("start", "INTERVAL_START"), ("stop", "INTERVAL_END"))
    }
    num_logs: Counter[str] = Counter()
    first: dict[str, tuple[RunLog, Event]] = {}
    for log in entry.logs:
        for key, right in expected.items():
            wrong = [event for event in log.all(key) if event.event_type != right and event.event_type in EVENT_TYPES]
            if wrong:
                num_logs[key] += 1
                first.setdefault(key, (log, wrong[0]))
    for key, (log, event) in sorted(first.items()):
        message = f"{key} is {event.event_type} in {num_logs[key]} of {len(entry.logs)} logs"
        yield Fault(log.path, message, event.line, expected=expected[key], found=event.event_type)


@rule("L110")
def intervals_pair(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Every interval that starts also stops, once, before it starts again. Epochs are matched by number.

    Why: nobody can say what happened outside of a closed interval.
    Example: epoch_start of epochs 1 and 2, but no epoch_stop of epoch 1, since lines were removed from the log.
    Fix: log both ends of every interval; submit the log as the run wrote it.
    """
    for name in limits.ruleset.values["events"]["intervals"]:
        for event, fault in _unpaired(log, name):
            yield Fault(log.path, fault, event.line)


def _unpaired(log: RunLog, name: str) -> Iterator[tuple[Event, str]]:
    """(event, message) of starts without a stop and stops without a start. Open intervals at run_stop are L119's."""
    start_key, stop_key = f"{name}_start", f"{name}_stop"
    starts, stops = log.until_stop(start_key), log.until_stop(stop_key)
    if _take_turns(starts, stops):
        return
    open_marks: dict[int | None, Event] = {}
    for event in sorted((*starts, *stops), key=lambda event: event.line):
        number = epoch_of(event) if name in ("epoch", "eval") else None
        if event.key == start_key:
            if number not in open_marks:
                open_marks[number] = event
            elif name != "init":  # every rank may log its own init_start; the first one counts
                line = open_marks[number].line
                yield event, f"{start_key} again, without {stop_key} since line {line}"
        elif open_marks.pop(number, None) is None:
            yield event, f"{stop_key} without {start_key}"
    latest = starts[-1] if starts else None
    for event in open_marks.values():
        may_be_open = name == "run" or (event is latest and name in TRAINING)
        if not may_be_open and log.last("run_stop") is not None:
            yield event, f"{start_key} without {stop_key}"


def _take_turns(starts: Sequence[Event], stops: Sequence[Event]) -> bool:
    """True if starts and stops alternate, as they nearly always do."""
    lines = [event.line for pair in zip(starts, stops, strict=False) for event in pair]
    return len(starts) == len(stops) and lines == sorted(lines)


@rule("L111")
def epochs_have_numbers(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Epoch and evaluation events have a whole epoch_num in their metadata.

    Why: convergence is counted in epochs, and an evaluation counts for the epoch that it names.
    Example: epoch_start with the metadata {"epoch": 3} or {"epoch_num": "3"}.
    Fix: log the events with the metadata {"epoch_num": number}.
    """
    for key in (*limits.ruleset.values["events"]["numbered"], limits.benchmark.quality_key):
        for event in log.until_stop(key):
            if epoch_of(event) is None:
                found = event.metadata.epoch_num if event.metadata is not None else None
                message = f"{key} has " + ("no epoch_num" if found is None else f"epoch_num {shown(found)}")
                yield Fault(log.path, message, event.line, expected="a whole number")
                break


def _counts_epochs(limits: EntryRules) -> bool:
    """False for openfold, whose epoch_num counts training samples."""
    return limits.benchmark.convergence_unit == "epochs"


@rule("L112", needs=("L111",))
def epochs_follow(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Epochs are numbered 0, 1, 2, ... or 1, 2, 3, ... without a gap or a repetition; openfold's by equal steps.

    Why: a gap is training that the log does not show, a repetition training that was discarded.
    Example: epoch_num 1, 2, 3, 7: a run resumed from somebody's checkpoint.
    Fix: submit an uninterrupted run; count every epoch once.
    """
    numbers = [(epoch_of(event), event) for event in log.until_stop("epoch_start")]
    if not numbers:
        return
    first = numbers[0][0]
    step = 1 if _counts_epochs(limits) else first
    if step == 1 and first not in (0, 1):
        yield Fault(log.path, f"epoch_start has epoch_num {first}", numbers[0][1].line, "0 or 1", str(first))
        return
    assert first is not None
    assert step is not None
    for index, (number, event) in enumerate(numbers):
        if number != first + index * step:
            wanted = str(first + index * step)
            yield Fault(log.path, f"epoch_start has epoch_num {number}", event.line, wanted, str(number))
            return


@rule("L113", needs=("L111",))
def epochs_stop_as_they_started(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """epoch_stop names an epoch that an epoch_start named before.

    Why: otherwise one of the two events belongs to another epoch, or to another run.
    Example: epoch_start with epoch_num 4, then epoch_stop with epoch_num 5.
    Fix: log both with the same counter.
    """
    started: list[int | None] = []
    for event in log.in_order("epoch_start", "epoch_stop"):
        number = epoch_of(event)
        if event.key == "epoch_start":
            started.append(number)
        elif started and number not in started[-2:]:  # the next epoch may have started before this one stops
            yield Fault(log.path, f"epoch_stop has epoch_num {number}", event.line, str(started[-1]), str(number))
            return


@rule("L114", severity="warning")
def values_are_filled_in(entry: Entry) -> Iterator[Fault]:
    """No value is a placeholder of the code that logged it.

    Why: a reader cannot tell the system or the organization.
    Example: submission_platform is "SUBMISSION_PLATFORM_PLACEHOLDER".
    Fix: fill in the submission's fields of the system configuration.
    """
    for log in entry.logs:
        for key, events in log.by_key.items():
            value = events[0].value
            if isinstance(value, str) and PLACEHOLDER in value.upper():
                yield Fault(log.path, f"{key} is {shown(value)}, a placeholder", events[0].line, found=shown(value))
                return


@rule("L115")
def blocks_follow(log: RunLog) -> Iterator[Fault]:
    """Blocks of epochs follow each other: each begins at the epoch after the previous block.

    Why: a gap is training that the log does not show.
    Example: first_epoch_num 1, epoch_count 4, then first_epoch_num 9.
    Fix: log first_epoch_num and epoch_count of every block, and count every epoch once.
    """
    expected = None
    for event in log.until_stop("block_start"):
        first, number = _whole(event, "first_epoch_num"), _whole(event, "epoch_count")
        if first is None or number is None or number < 1:
            message = "block_start has no whole first_epoch_num and epoch_count"
            yield Fault(log.path, message, event.line, expected="two whole numbers")
            return
        if first != expected and not (expected is None and first in (0, 1)):
            wanted = "0 or 1" if expected is None else str(expected)
            yield Fault(log.path, f"block_start has first_epoch_num {first}", event.line, wanted, str(first))
            return
        expected = first + number


def _whole(event: Event, name: str) -> int | None:
    value = getattr(event.metadata, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@rule("L118", severity="warning")
def repeated_keys_agree(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A key that the rules require once appears once, not several times with the same value.

    Why: several ranks or nodes logged; if their values differed, nobody could tell which one the run had.
    Example: submission_org on two lines, both "acme".
    Fix: log from one rank only.
    """
    for key in limits.ruleset.values["events"]["exactly_once"]:
        logs = [log for log in entry.logs if (events := _repeated(log, key)) and _is_equal(events)]
        if logs:
            events = logs[0].all(key)
            message = f"{key} appears {len(events)} times with one value, in {len(logs)} of {len(entry.logs)} logs"
            yield Fault(logs[0].path, message, events[1].line, expected="once")


@rule("L119", severity="warning")
def intervals_are_closed_at_the_end(log: RunLog) -> Iterator[Fault]:
    """The last epoch, block and evaluation stop before run_stop.

    Why: the time of an open interval is not known. Runs that stop inside an epoch, or that evaluate asynchronously,
    leave it open.
    Example: epoch_start of epoch 13, run_stop, and no epoch_stop of epoch 13.
    Fix: log the stops of all open intervals before run_stop.
    """
    if log.last("run_stop") is None:
        return
    for name in TRAINING:
        starts, stops = log.until_stop(f"{name}_start"), log.until_stop(f"{name}_stop")
        if starts and not any(stop.line > starts[-1].line and _matches(starts[-1], stop) for stop in stops[-2:]):
            yield Fault(log.path, f"{name}_start has no {name}_stop before run_stop", starts[-1].line)


def _matches(start: Event, stop: Event) -> bool:
    return epoch_of(start) == epoch_of(stop)
