# SPDX-License-Identifier: Apache-2.0
"""RuleFindings: a review's findings by rule, with links to the files; equal findings of an entry are joined."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from compliance.checks.registry import RULES, Finding
from compliance.reports.pages.entries import EntryView
from compliance.reports.pages.links import Links
from compliance.review import SEVERITIES, Review

MAX_FINDINGS = 3000  # a browser filters more only slowly; `check` prints them all
NUM_OPEN_ROWS = 5
"""Rows of a rule that are visible at first; the rest is folded."""
NUM_PLACES = 20
"""Places of a row that are links; more are counted."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file of the submission, and the line if there is one."""

    href: str
    text: str


@dataclass(kw_only=True)
class FindingRow:
    """Findings of one rule in one entry with the same message."""

    rule: str
    severity: str
    title: str
    """Entry, organization or submission."""
    anchor: str
    """Anchor of the entry's section; empty for an organization or the submission."""
    message: str
    expected: str
    fix: str
    places: list[Place] = field(default_factory=list)

    @property
    def shown_places(self) -> list[Place]:
        return self.places[:NUM_PLACES]


@dataclass(kw_only=True)
class RuleFindings:
    """All findings of one rule."""

    rule: str
    severity: str
    summary: str
    fix: str
    rows: list[FindingRow]

    @property
    def num_findings(self) -> int:
        return sum(len(row.places) for row in self.rows)

    @property
    def open_rows(self) -> list[FindingRow]:
        """Rows that are visible at first. Rules for the reviewer are the same for every entry, so theirs are folded."""
        return [] if self.severity == "manual" else self.rows[:NUM_OPEN_ROWS]

    @property
    def folded_rows(self) -> list[FindingRow]:
        return self.rows[len(self.open_rows) :]


@dataclass(frozen=True, kw_only=True)
class FindingList:
    """Everything that the section of findings shows."""

    groups: Sequence[RuleFindings]
    """The gravest first, then by rule."""
    counts: Counter[str]
    """Findings by severity, the gravest first; those that are left out are counted too."""
    num_left_out: int

    @property
    def titles(self) -> list[tuple[str, str]]:
        """Anchor and title of all entries with findings."""
        return sorted({(row.anchor, row.title) for group in self.groups for row in group.rows if row.anchor})

    @property
    def rules(self) -> list[str]:
        return sorted({group.rule for group in self.groups})


def finding_list(review: Review, views: Sequence[EntryView], links: Links) -> FindingList:
    """The review's findings by rule; if there are too many, the least severe are left out."""
    counts = review.counts
    ordered = sorted(review.findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.rule))
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in ordered[:MAX_FINDINGS]:
        groups.setdefault((finding.severity, finding.rule), []).append(finding)
    anchors = {view.entry.label: view.anchor for view in views}
    return FindingList(
        groups=[_rule_findings(*kind, own, review, anchors, links) for kind, own in groups.items()],
        counts=Counter({severity: counts[severity] for severity in SEVERITIES if counts[severity]}),
        num_left_out=max(0, len(ordered) - MAX_FINDINGS),
    )


def _rule_findings(
    severity: str, rule: str, findings: Iterable[Finding], review: Review, anchors: dict[str, str], links: Links
) -> RuleFindings:
    rows = joined(findings, review, anchors, links)
    return RuleFindings(rule=rule, severity=severity, summary=RULES[rule].summary, fix=RULES[rule].fix, rows=rows)


def joined(findings: Iterable[Finding], review: Review, anchors: dict[str, str], links: Links) -> list[FindingRow]:
    """Findings with the same rule, entry and message share a row, in the order of their first ones."""
    rows: dict[tuple[str, ...], FindingRow] = {}
    for finding in findings:
        title, message, expected = review.label_of(finding), review.relative(finding.message), finding.expected
        key = (finding.rule, finding.severity, title, message, expected)
        if key not in rows:
            rows[key] = FindingRow(
                rule=finding.rule,
                severity=finding.severity,
                title=title,
                anchor=anchors.get(title, ""),
                message=message,
                expected=review.relative(expected),
                fix=finding.fix,
            )
        place = review.place_of(finding) + (f":{finding.line}" if finding.line else "")
        rows[key].places.append(Place(href=links.href(finding.path), text=place))
    return list(rows.values())


def rows_by_entry(review: Review, views: Sequence[EntryView], links: Links) -> dict[str, list[FindingRow]]:
    """By anchor of the entry: the rows of its errors, waived findings and warnings, the gravest first."""
    order = SEVERITIES[:-1]
    found = {}
    for view, reviewed in zip(views, review.entries, strict=True):
        own = [finding for finding in reviewed.findings if finding.severity in order]
        own.sort(key=lambda finding: (order.index(finding.severity), finding.rule))
        found[view.anchor] = joined(own[:MAX_FINDINGS], review, {}, links)
    return found
