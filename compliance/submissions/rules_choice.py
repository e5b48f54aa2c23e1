# SPDX-License-Identifier: Apache-2.0
"""Chooses the rule set of a submission: given by the caller, declared, or implied by layout and logs."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from compliance.files.errors import UserError
from compliance.rulesets import ruleset
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions.reader import Declaration, Submission

ROUND_FOLDER = re.compile(r"hpc_results_v(\d+\.\d+)")
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
    yield from _declared(submission)
    yield from _from_benchmarks(submission)
    yield from _from_folder_name(submission)
    if submission.kind in ("organization", "round") and submission.entries and not submission.has_scaling_folders:
        yield WITHOUT_SCALING_FOLDERS, "implied by results/<system>/<benchmark> without strong or weak"
    yield from _from_year(submission)


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
    """The rule set that a submission.toml names. UserError if it is none."""
    name = declaration.values["rules"]
    if not isinstance(name, str) or not name:
        expected = f"expected one of: {', '.join(ruleset.names())}; or give --rules NAME"
        raise UserError(f"{declaration.path}: rules = {name!r}, {expected}")
    try:
        ruleset.load(name)
    except ruleset.RuleSetError as error:
        raise UserError(f"{declaration.path}: {error}") from None
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


def _from_year(submission: Submission) -> Iterator[tuple[str, str]]:
    """Implied by the year in which most runs started: the round of that year, or the nearest one."""
    starts = (log.first("run_start") for entry in submission.entries for log in entry.logs)
    years = Counter(datetime.fromtimestamp(start.time_ms / 1000, UTC).year for start in starts if start is not None)
    if years:
        year = max(years, key=lambda year: (years[year], year))
        rounds = _years()
        nearest = max((first for first in rounds if first <= year), default=min(rounds))
        yield rounds[nearest], f"implied by runs that started in {year}"


def _years() -> dict[int, str]:
    """Rule sets that a year can imply, by their first year."""
    years = {ruleset.load(name).values["implied"]["year"]: name for name in ruleset.names()}
    return {year: name for year, name in years.items() if year > 0}
