# SPDX-License-Identifier: Apache-2.0
"""L: text that a reader and a program may read differently: digits as text, shell traces, letters of other scripts."""

import unicodedata
from collections.abc import Iterator, Mapping
from posixpath import basename

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import is_number_as_text, shown
from compliance.rulesets.constraint import Constraint
from compliance.rulesets.ruleset import RuleSet
from compliance.run_log import RunLog
from compliance.submissions.reader import Entry

NAMES = ("submission_benchmark", "submission_org", "submission_division", "submission_status", "submission_platform")


@rule("L116", severity="warning")
def integers_are_numbers(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Seeds, counts and other integers are logged as numbers, not as text.

    Why: they are compared as numbers here, but other tools compare the text.
    Example: seed logged as "15987".
    Fix: convert the value to an integer before logging it.
    """
    for key, constraint in _all_constraints(limits).items():
        logs = [log for log in entry.logs if is_number_as_text(log.value(key), constraint)]
        if logs:
            found = shown(logs[0].value(key))
            message = f"{key} is the text {found} in {len(logs)} of {len(entry.logs)} logs"
            yield Fault(logs[0].path, message, logs[0].line_of(key), "a number", found)


def _all_constraints(limits: EntryRules) -> Mapping[str, Constraint]:
    benchmark = limits.benchmark
    return {**limits.ruleset.keys(), **benchmark.keys(), **benchmark.hyperparameters(limits.division)}


@rule("L117", severity="warning")
def shell_traces_are_not_events(log: RunLog) -> Iterator[Fault]:
    """No line of a shell trace has the `:::MLLOG` marker.

    Why: such a line shows a command, not an event, and is skipped; a reader may take it for an event.
    Example: + echo ':::MLLOG {"key": "run_start", ...}', printed by `set -x`.
    Fix: none is required; `set +x` around the commands that print events.
    """
    if log.num_shell_traces:
        yield Fault(log.path, f"{log.num_shell_traces} lines of a shell trace were skipped")


@rule("L120", severity="warning")
def keys_have_one_script(entry: Entry) -> Iterator[Fault]:
    """Keys and names are written in the letters of one script.

    Why: a Cyrillic letter looks like a Latin one, so two names that look equal are not.
    Example: the key "opt_lr" with a Cyrillic "o"; submission_org "acme" with a Cyrillic "a".
    Fix: type the name again.
    """
    for log in entry.logs:
        for key, events in log.by_key.items():
            if not key.isascii() or (key in NAMES and mixes_scripts(events[0].value)):
                text = key if not key.isascii() else events[0].value
                message = f"{key!r:.60} has letters of another script: {foreign(text)}"
                yield Fault(log.path, message, events[0].line, "Latin letters and digits")
                return


def mixes_scripts(text: object) -> bool:
    """True for Latin letters or digits beside letters or digits that look like them but are not."""
    return isinstance(text, str) and not text.isascii() and bool(foreign(text)) and any(map(_is_latin, text))


def foreign(text: str) -> str:
    """Names of the letters and digits of another script, at most three."""
    letters = [character for character in text if not character.isascii() and character.isalnum()]
    names = (unicodedata.name(letter, "unknown") for letter in letters if not _is_latin(letter))
    return ", ".join(name.lower() for name, _ in zip(names, range(3), strict=False))


def _is_latin(character: str) -> bool:
    return character.isalnum() and (character.isascii() or unicodedata.name(character, "").startswith("LATIN"))


@rule("L123", severity="warning")
def sources_are_of_one_place(entry: Entry) -> Iterator[Fault]:
    """The events of a log name each source file in one folder only.

    Why: the same file in two folders is two programs, or parts of two logs.
    Example: /opt/a/train.py in the first half of the log, /opt/b/train.py in the second.
    Fix: none is required if the code was copied; submit the log as the run wrote it.
    """
    for log in entry.logs:
        places: dict[str, str] = {}
        for source in sorted(log.sources):
            other = places.setdefault(basename(source), source)
            if other != source:
                yield Fault(
                    log.path, f"{source:.100} and {other:.100} are both named as the source", expected="one of them"
                )
                return


@rule("L124", severity="warning")
def rules_are_the_logs(entry: Entry, ruleset: RuleSet) -> Iterator[Fault]:
    """A log that names its rule set is checked by that rule set.

    Why: a run keeps to the rules that it was started with, such as the clock and the size of the data set.
    Example: rule_set "mlperf_hpc_demo" in a log that is checked by mlperf_hpc_3.0.
    Fix: check the log by its own rules, or say in the README that the result is of an earlier round.
    """
    for log in entry.logs:
        event = log.first("rule_set")
        if event is not None and event.value != ruleset.name:
            yield Fault(log.path, f"rule_set is {shown(event.value)}", event.line, ruleset.name, shown(event.value))
            return
