# SPDX-License-Identifier: Apache-2.0
"""Two entries' hyperparameters side by side: `check PATH --diff OTHER`."""

from collections.abc import Iterator
from dataclasses import dataclass

from compliance.checks import rules_for
from compliance.files.errors import UserError
from compliance.reports.pages.parameters import parameters
from compliance.reports.tables import aligned, printable
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions.reader import Entry, Submission


@dataclass(frozen=True, kw_only=True)
class Row:
    """One key, as the runs of either entry logged it."""

    key: str
    here: str
    """Empty where the entry's logs lack the key; several values where its runs differ."""
    there: str
    differs: bool


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two entries of one benchmark."""

    benchmark: str
    here: Entry
    there: Entry
    rows: tuple[Row, ...]


def differences(here: Submission, there: Submission, ruleset: RuleSet) -> list[Difference]:
    """One for each benchmark that both hold. UserError where none is, or where one holds several entries of it."""
    common = {entry.benchmark for entry in here.entries} & {entry.benchmark for entry in there.entries}
    if not common:
        raise UserError(f"{here.root} and {there.root}: no benchmark in common, expected entries of the same one")
    found = []
    for benchmark in sorted(common):
        pair = _only(here, benchmark), _only(there, benchmark)
        rows = tuple(_rows(*pair, ruleset))
        found.append(Difference(benchmark=benchmark, here=pair[0], there=pair[1], rows=rows))
    return found


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
    return {one.key: one.value for one in parameters(entry.logs, rules_for(entry, ruleset))}


def text(differences: list[Difference]) -> str:
    """A table a benchmark; a star marks what differs."""
    parts = []
    for one in differences:
        head = ("", one.benchmark, one.here.label, one.there.label)
        rows = [("*" if row.differs else "", row.key, row.here, row.there) for row in one.rows]
        parts.append(aligned([tuple(map(printable, row)) for row in (head, *rows)]))
    return "\n".join(parts)


def as_json(differences: list[Difference]) -> list[dict]:
    return [
        {"benchmark": one.benchmark, "key": row.key, "here": row.here, "there": row.there, "differs": row.differs}
        for one in differences
        for row in one.rows
    ]
