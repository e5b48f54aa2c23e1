# SPDX-License-Identifier: Apache-2.0
"""The hyperparameters of two entries side by side, for `check PATH --diff OTHER`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compliance.checks import rules_for
from compliance.files.errors import UserError
from compliance.reports.pages.parameters import parameters
from compliance.reports.tables import aligned, printable
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions.reader import Entry, Submission


@dataclass(frozen=True, kw_only=True)
class Row:
    """One key with the values that the runs of both entries logged."""

    key: str
    here: str
    """Empty if the entry's logs do not have the key; several values if its runs differ."""
    there: str
    differs: bool


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two entries of the same benchmark."""

    benchmark: str
    here: Entry
    there: Entry
    rows: tuple[Row, ...]


def differences(here: Submission, there: Submission, ruleset: RuleSet) -> list[Difference]:
    """One for each benchmark that both have. UserError if there is none, or if one has several entries of it."""
    common = {entry.benchmark for entry in here.entries} & {entry.benchmark for entry in there.entries}
    if not common:
        raise UserError(f"{here.root} and {there.root}: no benchmark in common, expected entries of the same one")
    pairs = [(_only(here, benchmark), _only(there, benchmark)) for benchmark in sorted(common)]
    return [
        Difference(benchmark=mine.benchmark, here=mine, there=other, rows=tuple(_rows(mine, other, ruleset)))
        for mine, other in pairs
    ]


def _only(submission: Submission, benchmark: str) -> Entry:
    entries = [entry for entry in submission.entries if entry.benchmark == benchmark]
    if len(entries) > 1:
        folders = ", ".join(str(entry.folder) for entry in entries)
        raise UserError(f"{submission.root}: {len(entries)} entries of {benchmark}, expected one; name it: {folders}")
    return entries[0]


def _rows(here: Entry, there: Entry, ruleset: RuleSet) -> Iterator[Row]:
    mine, others = (_values(entry, ruleset) for entry in (here, there))
    for key in sorted(mine.keys() | others.keys()):
        values = mine.get(key, ""), others.get(key, "")
        yield Row(key=key, here=values[0], there=values[1], differs=values[0] != values[1])


def _values(entry: Entry, ruleset: RuleSet) -> dict[str, str]:
    return {row.key: row.value for row in parameters(entry.logs, rules_for(entry, ruleset))}


def text(differences: Iterable[Difference]) -> str:
    """A table for each benchmark; a star marks keys that differ."""
    parts = []
    for pair in differences:
        head = ("", pair.benchmark, pair.here.label, pair.there.label)
        rows = [("*" if row.differs else "", row.key, row.here, row.there) for row in pair.rows]
        parts.append(aligned([tuple(map(printable, row)) for row in (head, *rows)]))
    return "\n".join(parts)


def as_json(differences: Iterable[Difference]) -> list[dict]:
    return [
        {"benchmark": pair.benchmark, "key": row.key, "here": row.here, "there": row.there, "differs": row.differs}
        for pair in differences
        for row in pair.rows
    ]
