# SPDX-License-Identifier: Apache-2.0
"""Scores as text, JSON, CSV and Markdown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from compliance.reports.tables import aligned, comma_separated, markdown, markdown_cell, printable
from compliance.scoring.score import Score
from compliance.submissions.rules_choice import RuleSetChoice

TIME_COLUMNS = ("entry", "division", "metric", "runs", "unconverged", "minutes", "scale", "scaled minutes", "valid")
VFLOPS_COLUMNS = (
    *("rank", "entry", "division", "runs", "incomplete", "minutes", "quality", "TFLOPS", "VTFLOPS"),
    *("variation", "GFLOPS/W", "VGFLOPS/W", "valid"),
)
NESTED = ("throughput", "vflops")
TERA, GIGA = 1e12, 1e9


def text(choice: RuleSetChoice, scores: Sequence[Score]) -> str:
    """One table a kind of metric, then what the figures rest on."""
    parts = [aligned([columns, *rows]) for columns, rows in _tables(scores)]
    parts += [
        f"{printable(name(score))}\n" + "".join(f"  {printable(note)}\n" for note in notes)
        for score in scores
        if (notes := list(_notes(score)))
    ]
    return "\n".join([*parts, f"rules {printable(str(choice))}\n"])


def as_json(choice: RuleSetChoice, scores: Sequence[Score]) -> dict:
    return {"schema": 2, "rules": choice.ruleset.name, "entries": [score.as_json() for score in scores]}


def as_csv(choice: RuleSetChoice, scores: Sequence[Score]) -> str:
    columns = [field.name for field in fields(Score) if field.name not in NESTED]
    return comma_separated([dict(_flat(score.as_json())) for score in scores], columns)


def as_markdown(choice: RuleSetChoice, scores: Sequence[Score]) -> str:
    parts = [markdown(columns, rows) for columns, rows in _tables(scores)]
    notes = "".join(f"- {markdown_cell(f'{name(score)}: {note}')}\n" for score in scores for note in _notes(score))
    return "\n".join([*parts, *filter(None, [notes]), f"Rules: {markdown_cell(choice)}\n"])


def name(score: Score) -> str:
    return "/".join(filter(None, (score.org, score.system, score.benchmark)))


def _tables(scores: Sequence[Score]) -> Iterator[tuple[Sequence[str], list[Sequence[str]]]]:
    in_time = [score for score in scores if score.metric != "vflops"]
    in_vflops = [score for score in scores if score.metric == "vflops"]
    if in_time or not scores:
        yield TIME_COLUMNS, [_time_row(score) for score in in_time]
    if in_vflops:
        yield VFLOPS_COLUMNS, [_vflops_row(score) for score in in_vflops]


def _time_row(score: Score) -> Sequence[str]:
    return (
        *(printable(name(score)), score.division, score.metric, str(score.runs), str(score.unconverged)),
        *(_number(score.minutes), f"{score.scale_factor:.4f}", _number(score.scaled_minutes), _valid(score)),
    )


def _vflops_row(score: Score) -> Sequence[str]:
    head = (printable(name(score)), score.division, str(score.runs), str(score.unconverged))
    found = score.vflops
    if found is None:
        return ("", *head, *("",) * 7, _valid(score))
    return (
        *("" if found.rank is None else str(found.rank), *head),
        *(_number(found.minutes), f"{found.quality:.4f}", _number(found.flops, TERA), _number(found.vflops, TERA)),
        *("" if found.variation.get("vflops") is None else f"{found.variation['vflops']:.2%}",),
        *(_number(found.flops_per_watt, GIGA), _number(found.vflops_per_watt, GIGA), _valid(score)),
    )


def _number(value: float | None, unit: float = 1.0) -> str:
    return "" if value is None else f"{value / unit:.3f}"


def _valid(score: Score) -> str:
    return "yes" if score.valid else "NO"


def _notes(score: Score) -> Iterator[str]:
    """What the table has no column for."""
    if score.dropped:
        extremes = "highest and lowest" if score.metric == "vflops" else "fastest and slowest"
        yield f"dropped as {extremes}: {', '.join(score.dropped)}"
    if (one := score.throughput) is not None:
        scale = f" of {one.instance_scale}" if one.instance_scale else ""
        total = f" on {one.total_scale} accelerators or nodes" if one.total_scale else ""
        yield f"{one.num_kept} instances{scale}{total}, {one.num_pruned} more pruned"
    if score.reference:
        yield f"convergence: {score.reference}"


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested fields under dotted names; single trials are left to JSON."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif key != "trials" and f"{prefix}{key}" not in NESTED:
            yield f"{prefix}{key}", value


FORMATS: dict[str, Callable[[RuleSetChoice, Sequence[Score]], str | dict]] = {
    "text": text,
    "json": as_json,
    "csv": as_csv,
    "markdown": as_markdown,
}
