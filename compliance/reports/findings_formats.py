# SPDX-License-Identifier: Apache-2.0
"""A review's findings in six formats: text, JSON, CSV, Markdown, SARIF and JUnit XML.

render(review, "sarif")
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from itertools import groupby

from compliance.checks.registry import RULES, Finding
from compliance.reports import findings_text, hyperparameter_diff, sarif, score_formats, terminal
from compliance.reports.hyperparameter_diff import Difference
from compliance.reports.tables import comma_separated, markdown, markdown_cell
from compliance.reports.terminal import Paint
from compliance.review import Review


def render(
    review: Review,
    form: str,
    *,
    show_all: bool = False,
    differences: Sequence[Difference] = (),
    paint: Paint = terminal.plain,
) -> str:
    """The findings as text, json or a format of FORMATS; only text and JSON hold differences to another entry."""
    if form == "text":
        return findings_text.text(review, show_all=show_all, differences=differences, paint=paint)
    return _json(review, differences) if form == "json" else FORMATS[form](review)


def _json(review: Review, differences: Sequence[Difference]) -> str:
    scores = score_formats.as_json(review)
    findings = [asdict(finding) for finding in review.shown]
    document = {"schema": 2, "rules": scores["rules"], "ok": review.ok, "findings": findings, **scores}
    return as_text(document | ({"differences": hyperparameter_diff.as_json(differences)} if differences else {}))


def _csv(review: Review) -> str:
    columns = [field.name for field in fields(Finding)]
    return comma_separated([asdict(finding) for finding in review.shown], columns)


def _markdown(review: Review) -> str:
    title = f"# {'Passed' if review.ok else 'Failed'}: {markdown_cell(review.submission.root)}"
    choice = markdown_cell(f"rules {review.choice}")
    parts = [f"{title}\n\n{markdown_cell(findings_text.verdict(review))}\n\n{choice}\n"]
    for label, group in groupby(review.shown, key=review.label_of):
        rows = ((f"{row.path}:{row.line or ''}", row.rule, row.severity, row.message, row.expected) for row in group)
        table = markdown(("where", "rule", "severity", "message", "expected"), rows)
        parts.append(f"## {markdown_cell(label)}\n\n{table}")
    return "\n".join([*parts, f"## Scores\n\n{score_formats.as_markdown(review)}"])


def _sarif(review: Review) -> str:
    return as_text(sarif.document(review.shown, RULES))


def _junit(review: Review) -> str:
    from compliance.reports import junit  # loads Python's XML modules, which no other format needs

    return junit.document(review.shown, review.submission)


def as_text(document: dict) -> str:
    return json.dumps(document, indent=1) + "\n"


FORMATS: dict[str, Callable[[Review], str]] = {"csv": _csv, "markdown": _markdown, "sarif": _sarif, "junit": _junit}
