# SPDX-License-Identifier: Apache-2.0
"""Findings and scores as text, JSON, CSV and Markdown; sarif.py and junit.py hold what other tools open.

What a log or a folder's name says is data: control characters are escaped, and so is what Markdown or a spreadsheet
would take for its own.
"""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from compliance import junit, sarif
from compliance.choice import Choice
from compliance.findings import RULES, Finding
from compliance.review import Review
from compliance.score import Score
from compliance.submission import Entry, Submission

SCHEMA = 1
NUM_SHOWN = 5  # findings of one rule in one entry, before text says how many more there are
SCORE_COLUMNS = ("entry", "division", "metric", "runs", "unconverged", "minutes", "scale", "scaled minutes", "valid")
MARKDOWN_SPECIAL = re.compile(r"([\\`*\[\]<>|])")


def findings_text(review: Review, *, show_all: bool = False) -> str:
    """Findings by entry, how to mend each rule's, and the verdict."""
    parts = [
        f"== {printable(label)}\n" + "".join(f"{line}\n" for line in _shown(group, show_all))
        for label, group in grouped(review.submission, review.findings)
    ]
    mends = {finding.rule: finding.mend for finding in review.findings if finding.severity in ("error", "warning")}
    if mends:
        lines = (f"{rule}  {mend}\n" for rule, mend in sorted(mends.items()))
        parts.append("== How to mend (more: python -m compliance explain RULE)\n" + "".join(lines))
    return "\n".join([*parts, verdict(review)])


def _shown(findings: Iterable[Finding], show_all: bool) -> Iterator[str]:
    for rule, same in groupby(sorted(findings, key=lambda finding: finding.rule), key=lambda finding: finding.rule):
        same = list(same)
        shown = same if show_all else same[:NUM_SHOWN]
        yield from (printable(str(finding)) for finding in shown)
        if len(same) > len(shown):
            yield f"... {rule} {len(same) - len(shown)} times more (--all shows them)"


def verdict(review: Review) -> str:
    """Counts by severity, and the rule set with the reason for it."""
    counts = review.counts
    kinds = (("error", "errors"), ("warning", "warnings"), ("manual", "to be checked by hand"), ("waived", "waived"))
    said = [f"{counts[kind]} {kind if counts[kind] == 1 and kind != 'manual' else plural}" for kind, plural in kinds]
    num_logs = sum(len(entry.logs) for entry in review.submission.entries)
    num_entries = len(review.submission.entries)
    where = f"{num_logs} log{'s' * (num_logs != 1)} of {num_entries} entr{'ies' if num_entries != 1 else 'y'}"
    return (
        f"{'passed' if review.ok else 'FAILED'}: {', '.join(said)} in {where}\nrules {printable(str(review.choice))}\n"
    )


def grouped(submission: Submission, findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    """Findings by the entry, organisation or submission whose folder holds their path, in the order of the paths."""
    labels = {submission.root: str(submission.root)}
    labels |= {one.folder: one.name for one in submission.organisations if one.name}
    labels |= {entry.folder: entry_name(entry) for entry in submission.entries}
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        path = Path(finding.path)
        label = next((labels[folder] for folder in (path, *path.parents) if folder in labels), str(submission.root))
        groups.setdefault(label, []).append(finding)
    return list(groups.items())


def entry_name(entry: Entry) -> str:
    """org/system/scaling/benchmark; what a log that stands alone does not tell is left out."""
    return "/".join(filter(None, (entry.org, entry.system, entry.scaling, entry.benchmark)))


def scores_text(submission: Submission, choice: Choice, scores: Sequence[Score]) -> str:
    rows = [SCORE_COLUMNS, *map(_score_row, scores)]
    return f"{table(rows)}\nrules {printable(str(choice))}\n"


def _score_row(score: Score) -> tuple[str, ...]:
    minutes, scaled = ("" if value is None else f"{value:.3f}" for value in (score.minutes, score.scaled_minutes))
    name = "/".join(filter(None, (score.org, score.system, score.benchmark)))
    counts = (str(score.runs), str(score.unconverged))
    valid = "yes" if score.valid else "NO"
    return (printable(name), score.division, score.metric, *counts, minutes, f"{score.scale_factor:.4f}", scaled, valid)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under a rule; what reads as a number stands to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_aligned(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines) + "\n"


def _aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)


def findings_json(review: Review) -> str:
    return _json(
        {
            "schema": SCHEMA,
            "rules": review.ruleset.name,
            "ok": review.ok,
            "findings": [asdict(finding) for finding in review.findings],
            "entries": [score.as_json() for score in review.scores],
        }
    )


def scores_json(submission: Submission, choice: Choice, scores: Sequence[Score]) -> str:
    entries = [score.as_json() for score in scores]
    return _json({"schema": SCHEMA, "rules": choice.ruleset.name, "entries": entries})


def _json(document: dict) -> str:
    return json.dumps(document, indent=1) + "\n"


def findings_csv(review: Review) -> str:
    return _csv(list(Finding.__dataclass_fields__), (asdict(finding) for finding in review.findings))


def scores_csv(submission: Submission, choice: Choice, scores: Sequence[Score]) -> str:
    return _csv(list(Score.__dataclass_fields__), (score.as_json() for score in scores))


def _csv(columns: Sequence[str], rows: Iterable[dict]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row[column]) for column in columns] for row in rows)
    return file.getvalue()


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    text = printable(" ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    is_formula = isinstance(value, str) and text.startswith(("=", "+", "-", "@"))
    return f"'{text}" if is_formula else text


def findings_markdown(review: Review) -> str:
    parts = [f"# {'Passed' if review.ok else 'Failed'}: {_cell(review.submission.root)}\n\n{_cell(verdict(review))}\n"]
    for label, group in grouped(review.submission, review.findings):
        rows = ((f"{one.path}:{one.line or ''}", one.rule, one.severity, one.message, one.expected) for one in group)
        parts.append(f"## {_cell(label)}\n\n{_markdown(('where', 'rule', 'severity', 'message', 'expected'), rows)}")
    parts.append(f"## Scores\n\n{_markdown(SCORE_COLUMNS, map(_score_row, review.scores))}")
    return "\n".join(parts)


def scores_markdown(submission: Submission, choice: Choice, scores: Sequence[Score]) -> str:
    return f"{_markdown(SCORE_COLUMNS, map(_score_row, scores))}\nRules: {_cell(choice)}\n"


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *(map(_cell, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return MARKDOWN_SPECIAL.sub(r"\\\1", printable(str(value).strip().replace("\n", "; ")))


def printable(text: str) -> str:
    """Text with whatever could move a cursor or hide a character written as an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def write(text: str, output: Path) -> None:
    """Write a file whole or not at all."""
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


FINDINGS: dict[str, Callable[[Review], str]] = {
    "text": findings_text,
    "json": findings_json,
    "csv": findings_csv,
    "markdown": findings_markdown,
    "sarif": lambda review: _json(sarif.document(review.findings, RULES)),
    "junit": lambda review: junit.document(review.findings, review.submission),
}
SCORES: dict[str, Callable[[Submission, Choice, Sequence[Score]], str]] = {
    "text": scores_text,
    "json": scores_json,
    "csv": scores_csv,
    "markdown": scores_markdown,
}
