# SPDX-License-Identifier: Apache-2.0
"""A review's findings in six formats: text, JSON, CSV, Markdown, SARIF and JUnit XML.

render(review, "text"), verdict(review)
write(text, Path("findings.sarif"))
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from pathlib import Path

from compliance.checks.registry import RULES, Finding
from compliance.reports import hyperparameter_diff, sarif, score_formats
from compliance.reports.hyperparameter_diff import Difference
from compliance.reports.tables import comma_separated, markdown, markdown_cell, printable
from compliance.review import Review
from compliance.submissions.reader import Submission

NUM_SHOWN = 5  # findings of one rule in one entry, before text says how many more there are
KINDS = {"error": "errors", "warning": "warnings", "manual": "to check by hand", "waived": "waived"}


def render(review: Review, form: str, *, show_all: bool = False, differences: Sequence[Difference] = ()) -> str:
    """The findings in a format of FORMATS; hyperparameters beside another entry's in text and JSON alone."""
    if form == "text":
        return _text(review, show_all, differences)
    return _json(review, differences) if form == "json" else FORMATS[form](review)


def verdict(review: Review) -> str:
    """Counts by severity, and the rule set with the reason for it."""
    entries = review.submission.entries
    counts = ", ".join(f"{review.counts[kind]} {_plural(kind, review.counts[kind])}" for kind in KINDS)
    logs = sum(len(entry.logs) for entry in entries)
    where = f"{logs} log{'s' * (logs != 1)} of {len(entries)} entr{'y' if len(entries) == 1 else 'ies'}"
    choice = printable(str(review.choice))
    return f"{'passed' if review.ok else 'FAILED'}: {counts} in {where}\nrules {choice}\n"


def _plural(kind: str, count: int) -> str:
    return kind if count == 1 and kind != "manual" else KINDS[kind]


def _text(review: Review, show_all: bool, differences: Sequence[Difference]) -> str:
    """Findings by entry, how to fix each rule's, and the verdict."""
    parts = [
        f"== {printable(label)}\n" + "".join(f"{line}\n" for line in _shown(group, show_all))
        for label, group in grouped(review.submission, review.findings)
    ]
    fixes = {finding.rule: finding.fix for finding in review.findings if finding.severity in ("error", "warning")}
    if fixes:
        lines = (f"{rule}  {fix}\n" for rule, fix in sorted(fixes.items()))
        parts.append("== How to fix (more: python -m compliance explain RULE)\n" + "".join(lines))
    if differences:
        parts.append(hyperparameter_diff.text(differences))
    return "\n".join([*parts, verdict(review)])


def _shown(findings: Iterable[Finding], show_all: bool) -> Iterator[str]:
    order = list(KINDS)
    gravest_first = sorted(findings, key=lambda finding: (order.index(finding.severity), finding.rule))
    for rule, same in groupby(gravest_first, key=lambda finding: finding.rule):
        same = list(same)
        shown = same if show_all else same[:NUM_SHOWN]
        yield from (printable(str(finding)) for finding in shown)
        if len(same) > len(shown):
            yield f"... {rule} {len(same) - len(shown)} times more (--all shows them)"


def grouped(submission: Submission, findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    """Findings by the entry, organization or submission whose folder holds their path, in the order of the paths."""
    labels = {submission.root: str(submission.root)}
    labels |= {one.folder: one.name for one in submission.organizations if one.name}
    labels |= {entry.folder: entry.label for entry in submission.entries}
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        path = Path(finding.path)
        label = next((labels[folder] for folder in (path, *path.parents) if folder in labels), str(submission.root))
        groups.setdefault(label, []).append(finding)
    return list(groups.items())


def _json(review: Review, differences: Sequence[Difference]) -> str:
    scores = score_formats.as_json(review.choice, review.scores)
    findings = [asdict(finding) for finding in review.findings]
    document = {"schema": 2, "rules": scores["rules"], "ok": review.ok, "findings": findings, **scores}
    return as_text(document | ({"differences": hyperparameter_diff.as_json(differences)} if differences else {}))


def _csv(review: Review) -> str:
    columns = [field.name for field in fields(Finding)]
    return comma_separated([asdict(finding) for finding in review.findings], columns)


def _markdown(review: Review) -> str:
    title = f"# {'Passed' if review.ok else 'Failed'}: {markdown_cell(review.submission.root)}"
    parts = [f"{title}\n\n{markdown_cell(verdict(review))}\n"]
    for label, group in grouped(review.submission, review.findings):
        rows = ((f"{one.path}:{one.line or ''}", one.rule, one.severity, one.message, one.expected) for one in group)
        table = markdown(("where", "rule", "severity", "message", "expected"), rows)
        parts.append(f"## {markdown_cell(label)}\n\n{table}")
    return "\n".join([*parts, f"## Scores\n\n{score_formats.as_markdown(review.choice, review.scores)}"])


def _junit(review: Review) -> str:
    from compliance.reports import junit  # and with it Python's XML, which no other format needs

    return junit.document(review.findings, review.submission)


def as_text(document: dict) -> str:
    return json.dumps(document, indent=1) + "\n"


FORMATS = {
    "csv": _csv,
    "markdown": _markdown,
    "sarif": lambda review: as_text(sarif.document(review.findings, RULES)),
    "junit": _junit,
}
