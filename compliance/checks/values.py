# SPDX-License-Identifier: Apache-2.0
"""Logged values against a table of constraints, as the families L and H compare them."""

from collections.abc import Iterator, Mapping

from compliance.checks.registry import EntryRules, Fault
from compliance.rulesets.constraint import Constraint
from compliance.run_log import Event, RunLog
from compliance.scoring.run_metrics import whole
from compliance.submissions.reader import Entry

SCALARS = frozenset({str, int, float, bool})


def unaccepted(entry: Entry, constraints: Mapping[str, Constraint], limits: EntryRules, *table: str) -> Iterator[Fault]:
    """Every logged value that its constraint does not accept; `table` is the place of the constraints in the rules.

    Integers as text of digits are compared as numbers; that they are text is another rule's finding (L116).
    """
    accepted: dict[str, object] = {}  # the latest value of each key, which the next log usually has too
    for log in entry.logs:
        for key, constraint in _applicable(log, constraints):
            if key in log.passed_over:
                message = f"{key} appears {log.passed_over[key]} times more than are checked"
                yield Fault(log.path, message, expected="one value")
            for event in log.by_key[key]:
                value, known = event.value, accepted.get(key)
                if value == known and type(value) is type(known) and type(value) in SCALARS:
                    continue
                if constraint.accepts(value) or is_number_as_text(value, constraint):
                    accepted[key] = value
                else:
                    yield _unaccepted(log, event, f"{constraint.describe()} ({limits.ruleset.origin(*table, key)})")


def _applicable(log: RunLog, constraints: Mapping[str, Constraint]) -> Iterator[tuple[str, Constraint]]:
    """Constraints of the keys that the log has, if their `when` applies."""
    values = None
    for key, constraint in constraints.items():
        if key not in log.by_key:
            continue
        if constraint.when is not None:
            values = values or log.values()
            if not constraint.applies(values):
                continue
        yield key, constraint


def _unaccepted(log: RunLog, event: Event, expected: str) -> Fault:
    found = shown(event.value)
    return Fault(log.path, f"{event.key} is {found}", event.line, expected=expected, found=found)


def is_number_as_text(value: object, constraint: Constraint) -> bool:
    """True for the digits of an integer that the constraint accepts."""
    if not isinstance(value, str) or not (constraint.type == "integer" or isinstance(constraint.equals, int)):
        return False
    number = whole(value)
    return number is not None and constraint.accepts(number)


def missing(entry: Entry, constraints: Mapping[str, Constraint], limits: EntryRules, *table: str) -> Iterator[Fault]:
    """Every required key that is missing in a log with events."""
    required = {key: constraint for key, constraint in constraints.items() if not constraint.optional}
    for log in entry.logs:
        absent = [key for key in required if key not in log.by_key] if log.events else ()
        for key in absent:
            constraint = required[key]
            if constraint.when is None or constraint.applies(log.values()):
                yield _missing(log, key, constraint, f"({limits.ruleset.origin(*table, key)})")


def _missing(log: RunLog, key: str, constraint: Constraint, origin: str) -> Fault:
    when = "".join(f" if {other} is {value!r}" for other, value in (constraint.when or {}).items())
    return Fault(log.path, f"{key} is missing", expected=f"{constraint.describe()}{when} {origin}")


def shown(value: object) -> str:
    """A logged value as a finding prints it, shortened to less than a line."""
    text = repr(value) if not isinstance(value, int) or -(10**40) < value < 10**40 else "an integer of over 40 digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
