# SPDX-License-Identifier: Apache-2.0
"""FindingGroup: the findings of one entry, or of what belongs to no entry, with links to the files they are about."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compliance.checks.registry import Finding
from compliance.reports.pages.entries import EntryView
from compliance.reports.pages.links import Links

MAX_FINDINGS = 3000  # more make a page that no browser filters at once; `check` prints them all
ORDER = ("error", "warning", "manual", "waived")


@dataclass(frozen=True, kw_only=True)
class FindingRow:
    """One finding with its link."""

    finding: Finding
    href: str
    where: str
    """Path from the submission's root, and the line where there is one."""


@dataclass(kw_only=True)
class FindingGroup:
    """Findings under one heading."""

    anchor: str
    title: str
    rows: list[FindingRow] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        return Counter(row.finding.severity for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class FindingList:
    """All groups that hold findings."""

    groups: Sequence[FindingGroup]
    num_left_out: int

    @property
    def counts(self) -> Counter[str]:
        """By severity, the gravest first."""
        total = sum((group.counts for group in self.groups), Counter())
        return Counter({name: total[name] for name in sorted(total, key=_gravity)})

    @property
    def rules(self) -> list[str]:
        return sorted({row.finding.rule for group in self.groups for row in group.rows})

    def of(self, anchor: str) -> FindingGroup | None:
        return next((group for group in self.groups if group.anchor == anchor), None)


def finding_list(findings: Iterable[Finding], entries: Sequence[EntryView], links: Links) -> FindingList:
    """Findings grouped by entry, errors first within each; the gravest ones are those kept where there are too many."""
    ordered = sorted(findings, key=lambda finding: _gravity(finding.severity))
    whole = FindingGroup(anchor="submission", title="Submission as a whole")
    groups = {view.entry.folder: FindingGroup(anchor=view.anchor, title=_title(view)) for view in entries}
    for finding in ordered[:MAX_FINDINGS]:
        path = Path(finding.path)
        group = next((groups[folder] for folder in (path, *path.parents) if folder in groups), whole)
        where = links.text(path) + (f":{finding.line}" if finding.line else "")
        group.rows.append(FindingRow(finding=finding, href=links.href(path), where=where))
    filled = [group for group in (whole, *groups.values()) if group.rows]
    return FindingList(groups=filled, num_left_out=max(0, len(ordered) - MAX_FINDINGS))


def _gravity(severity: str) -> tuple[int, str]:
    return (ORDER.index(severity) if severity in ORDER else len(ORDER), severity)


def _title(view: EntryView) -> str:
    return f"{view.title} · {view.entry.benchmark} · {view.metric}"
