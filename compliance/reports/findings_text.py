# SPDX-License-Identifier: Apache-2.0
"""A review's findings as text: the rule set, the entries with their verdicts, findings grouped by rule, the verdict.

Paths are relative to PATH. Each error has a line, and so has the first place of each warning; `show_all` gives every
finding a line. Rules that only a reviewer can check appear once each, at the end.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from compliance.checks.registry import RULES, Finding
from compliance.reports import hyperparameter_diff, terminal
from compliance.reports.hyperparameter_diff import Difference
from compliance.reports.tables import aligned, printable
from compliance.reports.terminal import Paint
from compliance.review import EntryReview, Review

NUM_SHOWN = 5  # findings of one rule in one entry
KINDS = {"error": "errors", "warning": "warnings", "manual": "to check by hand", "waived": "waived"}
TITLES = {"error": "Errors", "warning": "Warnings", "waived": "Waived", "manual": "To check by hand"}


def text(
    review: Review,
    *,
    show_all: bool = False,
    differences: Sequence[Difference] = (),
    paint: Paint = terminal.plain,
) -> str:
    """The whole text of `check`."""
    parts = [f"rules {printable(str(review.choice))}\n"]
    if len(review.entries) > 1:
        parts.append(_summary(review, paint))
    parts += [section for kind in TITLES if (section := _section(review, kind, show_all, paint))]
    if differences:
        parts.append(hyperparameter_diff.text(differences))
    return "\n".join([*parts, paint(verdict(review), "heading")]) + "\n"


def verdict(review: Review) -> str:
    """The verdict in one line, with the counts by severity."""
    counts = ", ".join(f"{review.counts[kind]} {_plural(kind, review.counts[kind])}" for kind in KINDS)
    entries = [entry.entry for entry in review.entries]
    logs = sum(len(entry.logs) for entry in entries)
    where = f"{logs} log{'s' * (logs != 1)} of {len(entries)} entr{'y' if len(entries) == 1 else 'ies'}"
    return f"{'passed' if review.ok else 'FAILED'}: {counts} in {where}"


def _plural(kind: str, count: int) -> str:
    return kind if count == 1 and kind != "manual" else KINDS[kind]


def _summary(review: Review, paint: Paint) -> str:
    """A row for each entry."""
    head = ("entry", "verdict", "errors", "warnings", "rules")
    rows = [head, *(_summary_row(entry) for entry in review.entries)]
    lines = aligned([tuple(map(printable, row)) for row in rows]).splitlines()
    refused = [
        paint(line, "error") if not entry.ok else line for line, entry in zip(lines[2:], review.entries, strict=True)
    ]
    return "\n".join([*lines[:2], *refused, ""])


def _summary_row(entry: EntryReview) -> tuple[str, ...]:
    counts = Counter(finding.severity for finding in entry.findings)
    rules = Counter(finding.rule for finding in entry.findings if finding.severity in ("error", "warning"))
    named = " ".join(f"{rule} ({count})" if count > 1 else rule for rule, count in sorted(rules.items()))
    return entry.entry.label, entry.verdict, str(counts["error"]), str(counts["warning"]), named


def _section(review: Review, kind: str, show_all: bool, paint: Paint) -> str:
    """All findings of one severity; empty if there are none."""
    groups: dict[str, list[Finding]] = {}
    for finding in review.shown:
        if finding.severity == kind:
            groups.setdefault(finding.rule, []).append(finding)
    if not groups:
        return ""
    is_short = not show_all and (kind == "manual" or (kind != "error" and len(review.entries) > 1))
    lines = (line for _, group in sorted(groups.items()) for line in _lines(review, group, is_short, show_all, paint))
    return "\n".join([paint(TITLES[kind], "heading"), *lines, ""])


def _lines(review: Review, group: list[Finding], is_short: bool, show_all: bool, paint: Paint) -> Iterator[str]:
    """The lines of one rule: in short its first place, else its findings and how to fix them."""
    first = group[0]
    if first.severity == "manual" and is_short:
        num_entries = f" ({len(group)} places)" if len(group) > 1 else ""
        yield f"{paint(first.rule, 'manual')}  {RULES[first.rule].summary}{num_entries}"
        return
    if is_short:
        more = f" (and {len(group) - 1} more)" if len(group) > 1 else ""
        yield _line(review, first, paint) + more
        return
    yield from _places(review, group, show_all, paint)
    if first.severity in ("error", "warning"):
        yield f"    fix: {printable(first.fix)}"


def _places(review: Review, group: Iterable[Finding], show_all: bool, paint: Paint) -> Iterator[str]:
    """A line for each finding, up to NUM_SHOWN in an entry; of several entries, the first finding in each."""
    for _, same in groupby(group, key=review.label_of):
        findings = list(same)
        first, *rest = [_line(review, finding, paint) for finding in findings[: None if show_all else NUM_SHOWN]]
        num_more = len(findings) - len(rest) - 1
        if rest and not show_all and len(review.entries) > 1:
            yield f"{first} (and {len(findings) - 1} more in the entry)"
            continue
        yield from (first, *rest)
        if num_more:
            yield f"    ... {findings[0].rule} {num_more} times more (--all shows them)"


def _line(review: Review, finding: Finding, paint: Paint) -> str:
    """acme/results/n64/strong/deepcam/result_3.txt:118: T102 error: init took 34m12s, expected at most 30m00s"""
    label = f"{finding.rule} {finding.severity}"
    return printable(review.relative(str(finding))).replace(label, paint(label, finding.severity), 1)
