# SPDX-License-Identifier: Apache-2.0
"""Logged values against a table of constraints: what the families L and H share."""

from collections.abc import Iterator, Mapping

from compliance.checks.registry import EntryRules, Fault
from compliance.mllog import RunLog
from compliance.rulesets.constraint import Constraint
from compliance.submissions.reader import Entry

SCALARS = frozenset({str, int, float, bool})


def unaccepted(entry: Entry, constraints: Mapping[str, Constraint], limits: EntryRules, *table: str) -> Iterator[Fault]:
    """Every logged value that its constraint does not accept; `table` is where the constraints stand in the rules."""
    accepted: dict[str, object] = {}  # the latest value of each key, which the next log mostly has too
    for log in entry.logs:
        values = None
        for key, constraint in constraints.items():
            if key not in log.by_key:
                continue
            if constraint.when is not None:
                values = values or log.values()
                if not constraint.applies(values):
                    continue
            if key in log.passed_over:
                message = f"{key} stands {log.passed_over[key]} times more than are checked"
                yield Fault(log.path, message, expected="one value")
            for event in log.by_key[key]:
                value, known = event.value, accepted.get(key)
                if value == known and type(value) is type(known) and type(value) in SCALARS:
                    continue
                if constraint.accepts(value):
                    accepted[key] = value
                else:
                    expected = f"{constraint.describe()} ({limits.ruleset.origin(*table, key)})"
                    found = shown(value)
                    yield Fault(log.path, f"{key} is {found}", event.line, expected=expected, found=found)


def missing(entry: Entry, constraints: Mapping[str, Constraint], limits: EntryRules, *table: str) -> Iterator[Fault]:
    """Every key that a log with any events lacks and its constraint asks for."""
    required = {key: constraint for key, constraint in constraints.items() if not constraint.optional}
    for log in entry.logs:
        absent = [key for key in required if key not in log.by_key] if log.events else ()
        for key in absent:
            constraint = required[key]
            if constraint.when is None or constraint.applies(log.values()):
                yield _missing(log, key, constraint, f"({limits.ruleset.origin(*table, key)})")


def _missing(log: RunLog, key: str, constraint: Constraint, origin: str) -> Fault:
    when = "".join(f" where {other} is {value!r}" for other, value in (constraint.when or {}).items())
    return Fault(log.path, f"{key} is missing", expected=f"{constraint.describe()}{when} {origin}")


def shown(value: object) -> str:
    """A logged value as a finding prints it: never longer than a line."""
    text = repr(value) if not isinstance(value, int) or -(10**40) < value < 10**40 else "an integer of over 40 digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
