# SPDX-License-Identifier: Apache-2.0
"""Chooses the rule set of a submission: given by the caller, named by the logs, declared, or implied.

The order is that of `_candidates`. Of each entry only the beginning of its first log is read; rule L124 compares the
others with the choice.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from compliance import mllog
from compliance.files.errors import UserError
from compliance.mllog import UnreadLog
from compliance.rulesets import ruleset
from compliance.rulesets.ruleset import RuleSet
from compliance.run_log import RunLog
from compliance.submissions.reader import Declaration, Entry, Submission, declaration

ROUND_FOLDER = re.compile(r"hpc_results_v(\d+\.\d+)")
RULE_SET_KEY = "rule_set"
MAX_NAMED = 5
WITHOUT_SCALING_FOLDERS = "mlperf_hpc_0.7"


@dataclass(frozen=True, kw_only=True)
class RuleSetChoice:
    """A rule set and the reason for it."""

    ruleset: RuleSet
    reason: str
    """For example 'given by --rules'."""

    def __str__(self) -> str:
        synthetic = "; synthetic data, comparable with nothing else" if self.ruleset.values.get("synthetic") else ""
        return f"{self.ruleset.name} ({self.reason}{synthetic})"


def choose(submission: Submission, name: str | None = None) -> RuleSetChoice:
    """The rule set called `name`, else the first one that the submission declares or implies.

    UserError for a name that no rule set has, and if a round's organizations declare different ones.
    """
    if name is not None:
        return RuleSetChoice(ruleset=ruleset.load(name), reason="given by --rules")
    for name, reason in _candidates(submission):
        return RuleSetChoice(ruleset=ruleset.load(name), reason=reason)
    newest = max(_years().items())[1]
    return RuleSetChoice(ruleset=ruleset.load(newest), reason="the newest; neither layout nor logs say which")


def _candidates(submission: Submission) -> Iterator[tuple[str, str]]:
    heads = [head for entry in submission.entries if (head := _head(entry)) is not None]
    yield from _logged(submission, heads)
    yield from _declared(submission)
    yield from _declared_above(submission)
    yield from _from_benchmarks(submission)
    yield from _from_folder_name(submission)
    if submission.kind in ("organization", "round") and submission.entries and not submission.has_scaling_folders:
        yield WITHOUT_SCALING_FOLDERS, "implied by results/<system>/<benchmark> without strong or weak"
    yield from _from_year(heads)


def _head(entry: Entry) -> RunLog | None:
    """The first log of an entry, or the beginning of its file."""
    if not entry.logs:
        return None
    log = entry.logs[0]
    return mllog.read(log.path, mllog.HEAD_BYTES) if isinstance(log, UnreadLog) else log


def _logged(submission: Submission, heads: Sequence[RunLog]) -> Iterator[tuple[str, str]]:
    """Named by the event rule_set of the logs."""
    named = {log.path: log.value(RULE_SET_KEY) for log in heads if log.first(RULE_SET_KEY) is not None}
    if len(set(map(repr, named.values()))) > 1:
        each = ", ".join(f"{path}: {name!r:.60}" for path, name in list(named.items())[:MAX_NAMED])
        raise UserError(f"{submission.root}: its logs name different rules ({each}); give --rules NAME")
    for path, name in list(named.items())[:1]:
        yield _loadable(name, f"{path}: {RULE_SET_KEY}"), f"named by the logs, such as {path.name}"


def _declared_above(submission: Submission) -> Iterator[tuple[str, str]]:
    """Declared by the nearest submission.toml in a folder above PATH."""
    for folder in submission.root.absolute().parents:
        above = declaration(folder)
        if "rules" in above.values:
            yield _name(above), f"named by {above.path}"


def _declared(submission: Submission) -> Iterator[tuple[str, str]]:
    """Declared by submission.toml at the root; in a round without one, by all of its organizations."""
    if submission.declaration.error:
        raise UserError(f"{submission.declaration.path}: {submission.declaration.error}")
    if "rules" in submission.declaration.values:
        yield _name(submission.declaration), f"named by {submission.declaration.path}"
    elif submission.kind == "round":
        names = {
            one.name: _name(one.declaration) for one in submission.organizations if "rules" in one.declaration.values
        }
        if len(set(names.values())) > 1:
            each = ", ".join(f"{org}: {name}" for org, name in sorted(names.items()))
            raise UserError(f"{submission.root}: its organizations name different rules ({each}); give --rules NAME")
        if len(names) == len(submission.organizations):
            yield next(iter(names.values())), "named by every organization's submission.toml"


def _name(declaration: Declaration) -> str:
    return _loadable(declaration.values["rules"], f"{declaration.path}: rules")


def _loadable(name: object, where: str) -> str:
    """The name of a rule set. UserError, which says where the name was found, if there is none of that name."""
    if not isinstance(name, str) or not name:
        expected = f"expected one of: {', '.join(ruleset.names())}; or give --rules NAME"
        raise UserError(f"{where} = {name!r:.60}, {expected}")
    try:
        ruleset.load(name)
    except ruleset.RuleSetError as error:
        raise UserError(f"{where}: {error}") from None
    return name


def _from_benchmarks(submission: Submission) -> Iterator[tuple[str, str]]:
    """Implied by the benchmarks: HPC AI500 has one rule set, which no year implies."""
    benchmarks = {entry.benchmark for entry in submission.entries}
    for name in _implied_by_benchmarks():
        known = benchmarks & ruleset.load(name).values["benchmarks"].keys()
        if known and known == benchmarks:
            yield name, f"implied by {', '.join(sorted(known))}"


def _implied_by_benchmarks() -> list[str]:
    rulesets = map(ruleset.load, ruleset.names())
    return [
        rules.name for rules in rulesets if rules.values["suite"] == "hpc_ai500" and not rules.values.get("synthetic")
    ]


def _from_folder_name(submission: Submission) -> Iterator[tuple[str, str]]:
    for folder in submission.root.absolute().parts[::-1]:
        match = ROUND_FOLDER.fullmatch(folder)
        if match and f"mlperf_hpc_{match[1]}" in ruleset.names():
            yield f"mlperf_hpc_{match[1]}", f"implied by the folder's name {folder}"


def _from_year(heads: Sequence[RunLog]) -> Iterator[tuple[str, str]]:
    """Implied by the year in which most entries were run: the round of that year, or the nearest one."""
    times = [log.events[0].time_ms for log in heads if log.events]
    years = Counter(datetime.fromtimestamp(time_ms / 1000, UTC).year for time_ms in times)
    if years:
        year = max(years, key=lambda year: (years[year], year))
        rounds = _years()
        nearest = max((first for first in rounds if first <= year), default=min(rounds))
        yield rounds[nearest], f"implied by runs that started in {year}"


def _years() -> dict[int, str]:
    """Rule sets that a year can imply, by their first year."""
    years = {ruleset.load(name).values["implied"]["year"]: name for name in ruleset.names()}
    return {year: name for year, name in years.items() if year > 0}
