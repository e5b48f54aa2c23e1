# SPDX-License-Identifier: Apache-2.0
"""L: the log itself, its lines, keys, interval marks and epoch numbers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown, unaccepted
from compliance.mllog import MAX_EVENTS, Event, RunLog
from compliance.rulesets.ruleset import RuleSet
from compliance.scoring.run_metrics import epoch_of
from compliance.submissions.reader import Entry

EVENT_TYPES = ("POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END")
PLACEHOLDER = "PLACEHOLDER"  # what public reference code logs until somebody fills it in


@rule("L101")
def log_holds_events(log: RunLog) -> Iterator[Fault]:
    """A log holds at least one event.

    Why: without `:::MLLOG` lines there is nothing to time or to judge.
    Example: an empty result_3.txt, or the console output of a run that logged elsewhere.
    Fix: submit the file that the run's event log was written to.
    """
    if not log.events:
        yield Fault(log.path, f"no :::MLLOG event in {log.num_bytes} bytes", expected="at least one")


@rule("L102")
def marked_lines_are_events(log: RunLog) -> Iterator[Fault]:
    """Every line with the `:::MLLOG` marker holds one event: a JSON object with key, value, time_ms and event_type.

    Why: a line that cannot be read is an event that cannot be judged; it may be the one that matters.
    Example: a line cut off in the middle because two ranks wrote into one file.
    Fix: let one rank write the log and flush it line by line; never edit it.
    """
    for bad in log.bad_lines:
        yield Fault(log.path, bad.reason, bad.line, expected="an event")
    unnamed = log.num_bad_lines - len(log.bad_lines)
    if unnamed:
        yield Fault(log.path, f"{unnamed} more lines that hold no event")


@rule("L103")
def log_is_short_enough(log: RunLog) -> Iterator[Fault]:
    """A log holds at most 100,000 events.

    Why: what is past that is not checked. The longest public log holds some ten thousand.
    Example: one event a training step over 200,000 steps.
    Fix: log a loss or a learning rate once an epoch rather than once a step.
    """
    if log.num_events > MAX_EVENTS:
        yield Fault(log.path, f"{log.num_events} events", expected=f"at most {MAX_EVENTS}", found=str(log.num_events))


@rule("L104", needs=("L101",))
def required_keys_are_logged(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Every key that the rules ask of a log is there.

    Why: who ran what, on what, and when the clock ran are read from these events.
    Example: a log that ends without run_stop because the job was killed.
    Fix: log the key in the run; a run that was killed has to be repeated.
    """
    for key in _required(limits.ruleset):
        if key not in log.by_key:
            yield Fault(log.path, f"{key} is missing", expected=f"an event ({_origin(limits, key)})")


@cache
def _required(ruleset: RuleSet) -> tuple[str, ...]:
    """The keys, once each."""
    events = ruleset.values["events"]
    common = (key for key, words in ruleset.values["keys"].items() if not words.get("optional"))
    return tuple(dict.fromkeys((*events["exactly_once"], *events["at_least_once"], *common)))


def _origin(limits: EntryRules, key: str) -> str:
    """The rule file that asks for the key."""
    for name in ("exactly_once", "at_least_once"):
        if key in limits.ruleset.values["events"][name]:
            return limits.ruleset.origin("events", name)
    return limits.ruleset.origin("keys", key)


@rule("L105")
def keys_stand_once(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A key that the rules ask for exactly once stands there once.

    Why: two run_starts are two clocks, and two batch sizes are two configurations; only one was run.
    Example: the output of two runs appended to one file.
    Fix: write each run's log into a new file.
    """
    for key in limits.ruleset.values["events"]["exactly_once"]:
        again = log.all(key)[1:]
        if again:
            yield Fault(log.path, f"{key} stands {len(again) + 1} times", again[0].line, expected="once")


@rule("L106")
def common_values_are_allowed(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The values that every log gives (division, status, batch size, nodes, seed) are of the kind that the rules name.

    Why: NaN, or text where a number belongs, cannot be compared, and an unknown division has no rules.
    Example: global_batch_size logged as "512 samples"; submission_division "close".
    Fix: log the value itself, in the words and the type that the rules give.
    """
    yield from unaccepted(entry, limits.ruleset.keys(), limits, "keys")


@rule("L107")
def benchmark_is_the_folders(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """submission_benchmark names the benchmark whose folder the log lies in.

    Why: a log in the wrong folder is held to another benchmark's target.
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

    Why: the log format knows no others.
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
    Example: eval_stop logged as INTERVAL_START, as several public logs do.
    Fix: log starts with mllogger.start and stops with mllogger.end.
    """
    expected = {
        f"{name}_{mark}": event_type
        for name in limits.ruleset.values["events"]["intervals"]
        for mark, event_type in (("start", "INTERVAL_START"), ("stop", "INTERVAL_END"))
    }
    logs, first = Counter(), {}
    for log in entry.logs:
        for key, right in expected.items():
            wrong = [event for event in log.all(key) if event.event_type != right and event.event_type in EVENT_TYPES]
            if wrong:
                logs[key] += 1
                first.setdefault(key, (log, wrong[0]))
    for key, (log, event) in sorted(first.items()):
        message = f"{key} is {event.event_type} in {logs[key]} of {len(entry.logs)} logs"
        yield Fault(log.path, message, event.line, expected=expected[key], found=event.event_type)


@rule("L110")
def intervals_pair(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """What starts stops, and stops once, before it starts again.

    Why: time outside a closed interval is time that nobody can account for.
    Example: two epoch_starts in a row, because the first epoch was cut out of the log.
    Fix: log both ends of every interval; submit the log as the run wrote it.
    """
    for name in limits.ruleset.values["events"]["intervals"]:
        start, stop, opened = f"{name}_start", f"{name}_stop", None
        if _pairs_at_once(log.all(start), log.all(stop)):
            continue
        for event in log.in_order(start, stop):
            if event.key == stop:
                if opened is None:
                    yield Fault(log.path, f"{stop} without {start}", event.line)
                opened = None
            elif opened is None:
                opened = event
            elif name != "init":  # every rank may log its own init_start; the first one counts
                yield Fault(log.path, f"{start} again, without {stop} since line {opened.line}", event.line)
        if opened is not None and log.first("run_stop"):  # without it the missing stops follow from the missing end
            yield Fault(log.path, f"{start} without {stop}", opened.line)


def _pairs_at_once(starts: Sequence[Event], stops: Sequence[Event]) -> bool:
    """Whether starts and stops take turns, as they nearly always do: told without a look at each."""
    lines = [event.line for pair in zip(starts, stops, strict=False) for event in pair]
    return len(starts) == len(stops) and lines == sorted(lines)


@rule("L111")
def epochs_have_numbers(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Epoch and evaluation events carry a whole epoch_num in their metadata.

    Why: convergence is counted in epochs, and an evaluation counts for the epoch that it names.
    Example: epoch_start with the metadata {"epoch": 3} or {"epoch_num": "3"}.
    Fix: pass {"epoch_num": number} as the event's metadata.
    """
    for key in ("epoch_start", "epoch_stop", limits.benchmark.quality_key):
        for event in log.all(key):
            if epoch_of(event) is None:
                found = event.metadata.epoch_num if event.metadata is not None else None
                message = f"{key} has " + ("no epoch_num" if found is None else f"epoch_num {shown(found)}")
                yield Fault(log.path, message, event.line, expected="a whole number")
                break


def _counts_epochs(limits: EntryRules) -> bool:
    """Not so for openfold, which is evaluated after so many iterations, and counts samples in epoch_num's place."""
    return limits.benchmark.convergence_key == "epoch_num"


@rule("L112", needs=("L111",))
def epochs_follow(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Epochs are numbered 0, 1, 2, ... or 1, 2, 3, ... without a gap or a repetition.

    Why: a jump is training that the log does not show, a repetition training that was thrown away.
    Example: epoch_num 1, 2, 3, 7: a run resumed from somebody's checkpoint.
    Fix: submit an uninterrupted run; count every epoch once.
    """
    if not _counts_epochs(limits):
        return
    expected = None
    for event in log.all("epoch_start"):
        number = epoch_of(event)
        if number != expected and not (expected is None and number in (0, 1)):
            wanted = "0 or 1" if expected is None else str(expected)
            yield Fault(log.path, f"epoch_start has epoch_num {number}", event.line, wanted, str(number))
            return
        expected = number + 1


@rule("L113", needs=("L111",))
def epochs_stop_as_they_started(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """epoch_stop names the epoch that epoch_start named.

    Why: otherwise one of the two events is from another epoch, or from another run.
    Example: epoch_start with epoch_num 4, then epoch_stop with epoch_num 5.
    Fix: log both with the same counter.
    """
    if not _counts_epochs(limits):
        return
    started = None
    for event in log.in_order("epoch_start", "epoch_stop"):
        if event.key == "epoch_start":
            started = epoch_of(event)
        elif started is not None and epoch_of(event) != started:
            found = str(epoch_of(event))
            yield Fault(log.path, f"epoch_stop has epoch_num {found}", event.line, str(started), found)
            return


@rule("L114", severity="warning")
def values_are_filled_in(entry: Entry) -> Iterator[Fault]:
    """No value is still the placeholder of the code that it came from.

    Why: a reader cannot tell which system or organization is meant.
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
    """Blocks of epochs follow each other: each begins where the one before it ended.

    Why: a jump is training that the log does not show.
    Example: first_epoch_num 1, epoch_count 4, then first_epoch_num 9.
    Fix: log first_epoch_num and epoch_count of every block, counted once.
    """
    expected = None
    for event in log.all("block_start"):
        first, count = _whole(event, "first_epoch_num"), _whole(event, "epoch_count")
        if first is None or count is None or count < 1:
            message = "block_start lacks a whole first_epoch_num or epoch_count"
            yield Fault(log.path, message, event.line, expected="two whole numbers")
            return
        if first != expected and not (expected is None and first in (0, 1)):
            wanted = "0 or 1" if expected is None else str(expected)
            yield Fault(log.path, f"block_start has first_epoch_num {first}", event.line, wanted, str(first))
            return
        expected = first + count


def _whole(event: Event, name: str) -> int | None:
    value = getattr(event.metadata, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
