# SPDX-License-Identifier: Apache-2.0
"""Scores as text, JSON, CSV and Markdown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from compliance.reports.tables import aligned, comma_separated, markdown, markdown_cell, printable
from compliance.review import Review
from compliance.scoring.score import Score

TIME_COLUMNS = (
    *("entry", "division", "metric", "runs", "unconverged", "minutes", "scale", "scaled minutes"),
    *("scored", "verdict"),
)
VFLOPS_COLUMNS = (
    *("rank", "entry", "division", "runs", "incomplete", "minutes", "quality", "TFLOPS", "VTFLOPS"),
    *("variation", "GFLOPS/W", "VGFLOPS/W", "scored", "verdict"),
)
NESTED = ("throughput", "vflops")
TERA, GIGA = 1e12, 1e9


def text(review: Review) -> str:
    """The rule set, a table for each kind of metric, and notes on the figures."""
    parts = [f"rules {printable(str(review.choice))}\n"]
    parts += [aligned([columns, *rows]) for columns, rows in _tables(review)]
    for score, _ in review.scored:
        if notes := list(_notes(score)):
            lines = (f"  {printable(note)}\n" for note in notes)
            parts.append(f"{printable(name(score))}\n" + "".join(lines))
    return "\n".join(parts)


def as_json(review: Review) -> dict:
    return {"schema": 2, "rules": review.ruleset.name, "entries": [_record(*scored) for scored in review.scored]}


def as_csv(review: Review) -> str:
    names = [field.name for field in fields(Score) if field.name not in NESTED]
    return comma_separated([dict(_flat(_record(*scored))) for scored in review.scored], names)


def as_markdown(review: Review) -> str:
    parts = [markdown(columns, rows) for columns, rows in _tables(review)]
    notes = "".join(f"- {markdown_cell(f'{name(one)}: {note}')}\n" for one, _ in review.scored for note in _notes(one))
    return "\n".join([*parts, *filter(None, [notes]), f"Rules: {markdown_cell(review.choice)}\n"])


def name(score: Score) -> str:
    return "/".join(filter(None, (score.org, score.system, score.benchmark)))


def _record(score: Score, verdict: str) -> dict[str, Any]:
    """The fields of the score, with the verdict right after `scored`."""
    record: dict[str, Any] = {}
    for key, value in score.as_json().items():
        record[key] = value
        if key == "scored":
            record["verdict"] = verdict
    return record


def _tables(review: Review) -> Iterator[tuple[Sequence[str], list[Sequence[str]]]]:
    in_time = [_time_row(score, verdict) for score, verdict in review.scored if score.metric != "vflops"]
    in_vflops = [_vflops_row(score, verdict) for score, verdict in review.scored if score.metric == "vflops"]
    if in_time or not in_vflops:
        yield TIME_COLUMNS, in_time
    if in_vflops:
        yield VFLOPS_COLUMNS, in_vflops


def _time_row(score: Score, verdict: str) -> Sequence[str]:
    return (
        *(printable(name(score)), score.division, score.metric, str(score.runs), str(score.unconverged)),
        *(_number(score.minutes), f"{score.scale_factor:.4f}", _number(score.scaled_minutes)),
        *(_scored(score), verdict),
    )


def _vflops_row(score: Score, verdict: str) -> Sequence[str]:
    head = (printable(name(score)), score.division, str(score.runs), str(score.unconverged))
    measured = score.vflops
    if measured is None:
        return ("", *head, *("",) * 7, _scored(score), verdict)
    variation = measured.variation.get("vflops")
    return (
        *("" if measured.rank is None else str(measured.rank), *head, _number(measured.minutes)),
        *(f"{measured.quality:.4f}", _number(measured.flops, TERA), _number(measured.vflops, TERA)),
        *("" if variation is None else f"{variation:.2%}", _number(measured.flops_per_watt, GIGA)),
        *(_number(measured.vflops_per_watt, GIGA), _scored(score), verdict),
    )


def _number(value: float | None, unit: float = 1.0) -> str:
    return "" if value is None else f"{value / unit:.3f}"


def _scored(score: Score) -> str:
    return "yes" if score.scored else "no"


def _notes(score: Score) -> Iterator[str]:
    """Facts that the table has no column for."""
    if score.dropped:
        extremes = "highest and lowest" if score.metric == "vflops" else "fastest and slowest"
        yield f"dropped as {extremes}: {', '.join(score.dropped)}"
    if (instances := score.throughput) is not None:
        scale = f" of {instances.instance_scale}" if instances.instance_scale else ""
        total = f" on {instances.total_scale} accelerators or nodes" if instances.total_scale else ""
        yield f"{instances.num_kept} instances{scale}{total}, {instances.num_pruned} more pruned"
    if score.reference:
        yield f"convergence: {score.reference}"


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested fields under dotted names; only JSON holds the single trials."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif key != "trials" and f"{prefix}{key}" not in NESTED:
            yield f"{prefix}{key}", value


FORMATS: dict[str, Callable[[Review], str | dict]] = {
    "text": text,
    "json": as_json,
    "csv": as_csv,
    "markdown": as_markdown,
}
