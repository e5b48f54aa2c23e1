# SPDX-License-Identifier: Apache-2.0
"""Waivers: findings that a review has accepted, in a file of the reviewer.

    python -m compliance check ROUND --waivers accepted.toml

    [[waiver]]
    rule = "T102"
    path = "acme/results/n64/strong/deepcam"      # relative to ROUND; a folder stands for all its files, "." for all
    reason = "file system failure, see the minutes of the review"
    approver = "A. Reviewer"

A waived finding stays visible: its severity becomes `waived`, and its message names reason and approver. A waivers.toml
in an organization's folder is a request, with paths relative to that folder: it is reported and changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compliance.checks.registry import RULES, Fault, Finding, rule
from compliance.files import toml
from compliance.files.errors import UserError, nearest
from compliance.files.regular_file import is_regular
from compliance.submissions.reader import Organization

FILE_NAME = "waivers.toml"
KEYS = ("rule", "path", "reason", "approver")
MAX_NAMED = 5  # requests and faults in one finding


@dataclass(kw_only=True)
class Waiver:
    """One [[waiver]] table with its four keys."""

    rule: str
    path: Path
    """The waived file or folder, joined to the folder that the file's paths are relative to."""
    reason: str
    approver: str
    num_used: int = 0
    """Number of findings that it covers."""


@dataclass(kw_only=True)
class Waivers:
    """The waivers of one file."""

    path: Path
    waivers: list[Waiver] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Reasons why the file, or a table of it, cannot be used."""


def read(path: Path, root: Path) -> Waivers:
    """A waivers file whose paths are relative to `root`; faults are collected."""
    file = Waivers(path=path)
    try:
        tables = toml.load(path).get("waiver")
    except UserError as error:
        file.faults.append(str(error).removeprefix(f"{path}: "))
        return file
    if not isinstance(tables, list):
        file.faults.append("no [[waiver]] table")
        return file
    for number, table in enumerate(tables, start=1):
        faults = list(_faults(table))
        file.faults += [f"waiver {number}: {fault}" for fault in faults]
        if not faults:
            file.waivers.append(Waiver(**{**table, "path": root / table["path"]}))
    return file


def read_granted(path: Path, root: Path) -> Waivers:
    """The reviewer's waivers. UserError names the first fault."""
    file = read(path, root)
    if file.faults:
        raise UserError(f"{path}: {file.faults[0]}")
    return file


def apply(findings: list[Finding], granted: Waivers) -> list[Finding]:
    """The findings with the waived ones marked, and findings about waivers that cover nothing."""
    waiver_at = {(waiver.rule, waiver.path): waiver for waiver in granted.waivers}
    waived_rules = {waiver.rule for waiver in granted.waivers}
    marked = [_marked(finding, waiver_at) if finding.rule in waived_rules else finding for finding in findings]
    unused = (rule for rule in RULES.values() if rule.scope == "waivers")
    return marked + [rule.finding(fault) for rule in unused for fault in rule.faults(granted)]


def _marked(finding: Finding, waiver_at: dict[tuple[str, Path], Waiver]) -> Finding:
    place = Path(finding.path)
    for folder in (place, *place.parents):
        if waiver := waiver_at.get((finding.rule, folder)):
            waiver.num_used += 1
            message = f"{finding.message} ({finding.severity} waived by {waiver.approver}: {waiver.reason})"
            return replace(finding, severity="waived", message=message)
    return finding


def _faults(table: Any) -> Iterator[str]:
    if not isinstance(table, dict):
        yield "is not a table"
        return
    for key in table.keys() - set(KEYS):
        yield f"unknown key {key!r}; {nearest(key, KEYS)}"
    for key in KEYS:
        if not isinstance(table.get(key), str) or not table[key].strip():
            yield f"{key} = {table.get(key)!r:.60}, expected a text"
    name, path = table.get("rule"), table.get("path")
    if isinstance(name, str) and name not in RULES:
        yield f"no rule {name!r:.60}; {nearest(name, RULES)}"
    if isinstance(path, str) and (Path(path).is_absolute() or ".." in Path(path).parts):
        yield f"path = {path!r:.60}, expected a relative path without '..'"


def _requests(organization: Organization) -> Waivers | None:
    """The organization's own waivers.toml; None without one. A link is not followed out of the submission."""
    path = organization.folder / FILE_NAME
    return read(path, organization.folder) if is_regular(path) else None


def _first(lines: list[str]) -> str:
    more = f"; and {len(lines) - MAX_NAMED} more" if len(lines) > MAX_NAMED else ""
    return "; ".join(lines[:MAX_NAMED]) + more


@rule("P951", severity="warning")
def request_for_waivers_is_complete(organization: Organization) -> Iterator[Fault]:
    """Every waiver that a submission asks for names a known rule, a path, the reason and the approver.

    Why: a reviewer can only decide on a request that says what is to be accepted, and why.
    Example: rule = "T999", which does not exist; or a waiver without a reason.
    Fix: give rule, path, reason and approver as texts; `python -m compliance explain` lists the rules.
    """
    file = _requests(organization)
    if file and file.faults:
        yield Fault(file.path, _first(file.faults))


@rule("P952", severity="warning")
def waiver_is_used(waivers: Waivers) -> Iterator[Fault]:
    """Every waiver of the reviewer covers a finding.

    Why: a waiver that covers nothing is out of date, or names the wrong rule or path.
    Example: path = "acme/results/n64/strong/deepcam" after the entry was withdrawn.
    Fix: remove the waiver, or correct its rule or path; paths are relative to the PATH of the command.
    """
    for waiver in waivers.waivers:
        if not waiver.num_used:
            yield Fault(waivers.path, f"waiver of {waiver.rule} for {waiver.path} covers no finding")


@rule("P956", severity="manual")
def request_for_waivers_is_decided(organization: Organization) -> Iterator[Fault]:
    """A reviewer decides on the waivers that a submission asks for.

    Why: a submission cannot accept its own faults; its waivers.toml is a request and changes no finding.
    Example: a waivers.toml that asks to accept T102 after a file system failure.
    Fix: to grant a request, copy its table into the reviewer's file and pass that with --waivers.
    """
    file = _requests(organization)
    if file and file.waivers:
        asked = [f"{waiver.rule} for {waiver.path} ({waiver.reason})" for waiver in file.waivers]
        yield Fault(file.path, f"asks to waive {_first(asked)}")
