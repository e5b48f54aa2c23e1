# SPDX-License-Identifier: Apache-2.0
"""Waivers: findings that a review has accepted, in waivers.toml at an organization's root.

    [[waiver]]
    rule = "T102"
    path = "results/n64/strong/deepcam"      # a file, or a folder with all that it holds; "." is everything
    reason = "file system failure, see the minutes of the review"
    approver = "A. Reviewer"

A waived finding stays visible: its severity becomes `waived`, its message names reason and approver.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compliance.checks.registry import RULES, Fault, Finding, rule
from compliance.files import toml
from compliance.files.errors import UserError
from compliance.rulesets.ruleset import nearest
from compliance.submissions.reader import Submission

FILE_NAME = "waivers.toml"
KEYS = ("rule", "path", "reason", "approver")


@dataclass(kw_only=True)
class Waiver:
    """One [[waiver]] table whose four keys hold text."""

    rule: str
    path: Path
    """Beneath the organization's folder, joined to it."""
    reason: str
    approver: str
    num_used: int = 0
    """Findings that it covers."""

    def covers(self, finding: Finding) -> bool:
        return self.rule == finding.rule and self.path in (found := Path(finding.path), *found.parents)


@dataclass(kw_only=True)
class Waivers:
    """An organization's waivers.toml."""

    path: Path
    waivers: list[Waiver] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What keeps the file, or a table of it, from being used."""


def apply(submission: Submission, findings: list[Finding]) -> list[Finding]:
    """The findings with the waived ones marked, and what there is to say of the waivers themselves."""
    files = [read(organization.folder) for organization in submission.organizations if organization.folder.is_dir()]
    waivers = [waiver for file in files for waiver in file.waivers]
    marked = [_marked(finding, waivers) for finding in findings] if waivers else list(findings)
    rules = [rule for rule in RULES.values() if rule.scope == "waivers"]
    marked += [rule.finding(fault) for file in files for rule in rules for fault in rule.faults(file)]
    return sorted(marked, key=lambda finding: (finding.path, finding.line, finding.rule))


def _marked(finding: Finding, waivers: list[Waiver]) -> Finding:
    for waiver in waivers:
        if waiver.covers(finding):
            waiver.num_used += 1
            message = f"{finding.message} ({finding.severity} waived by {waiver.approver}: {waiver.reason})"
            return replace(finding, severity="waived", message=message)
    return finding


def read(folder: Path) -> Waivers:
    """The organization's waivers; none where there is no file. A link is not followed out of the submission."""
    file = Waivers(path=folder / FILE_NAME)
    if not file.path.is_file() or file.path.is_symlink():
        return file
    try:
        tables = toml.load(file.path).get("waiver")
    except UserError as error:
        file.faults.append(str(error).removeprefix(f"{file.path}: "))
        return file
    if not isinstance(tables, list):
        file.faults.append("no [[waiver]] table")
        return file
    for number, table in enumerate(tables, start=1):
        faults = list(_faults(table))
        file.faults += [f"waiver {number}: {fault}" for fault in faults]
        if not faults:
            file.waivers.append(Waiver(**{**table, "path": folder / table["path"]}))
    return file


def _faults(table: Any) -> Iterator[str]:
    if not isinstance(table, dict):
        yield "is no table"
        return
    for key in table.keys() - set(KEYS):
        yield f"unknown key {key!r}; {nearest(key, KEYS)}"
    for key in KEYS:
        if not isinstance(table.get(key), str) or not table[key].strip():
            yield f"{key} = {table.get(key)!r}, expected a text"
    name, path = table.get("rule"), table.get("path")
    if isinstance(name, str) and name not in RULES:
        yield f"no rule {name!r}; {nearest(name, RULES)}"
    if isinstance(path, str) and (Path(path).is_absolute() or ".." in Path(path).parts):
        yield f"path = {path!r}, expected a path beneath the organization's folder"


@rule("P951")
def waiver_is_complete(waivers: Waivers) -> Iterator[Fault]:
    """Every waiver names a known rule, a path, the reason and the approver.

    Why: a waiver lets a fault stand; who allowed it, where and why must be on record.
    Example: rule = "T999", which no rule has; or a waiver without an approver.
    Fix: give rule, path, reason and approver as texts; `python -m compliance explain` lists the rules.
    """
    for fault in waivers.faults:
        yield Fault(waivers.path, fault)


@rule("P952", severity="warning")
def waiver_is_used(waivers: Waivers) -> Iterator[Fault]:
    """Every waiver covers a finding.

    Why: a waiver that covers nothing is out of date, or misses the fault that it was meant for.
    Example: path = "results/n64/strong/deepcam" after the entry was withdrawn.
    Fix: remove the waiver, or correct its rule or path.
    """
    for waiver in waivers.waivers:
        if not waiver.num_used:
            yield Fault(waivers.path, f"waiver of {waiver.rule} for {waiver.path} covers no finding")
