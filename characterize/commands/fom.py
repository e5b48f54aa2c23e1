# SPDX-License-Identifier: Apache-2.0
"""Figures of merit for a procurement: a proposed system over a reference system, benchmark by benchmark.

    python -m characterize fom --reference reference.toml                            # writes a worksheet to fill
    python -m characterize fom --reference reference.toml --proposed proposed.toml

One figure per benchmark, higher is better: trainings per hour (60 / minutes to train), or VFLOPS for HPC AI500. Both
files are worksheets in which each figure states its source: logs, a public entry, a prediction, or a value with its
method (the form is in characterize/commands/worksheet.py). Ratios are to the reference system's baseline; the summary
is their geometric mean, with the code as published (baseline) and optimized.
"""

import argparse
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import msgspec
from matplotlib.figure import Figure

from characterize.commands import worksheet
from characterize.commands.worksheet import Worksheet
from characterize.models.figure_of_merit import BASELINE, COLUMNS, PROJECTED, FigureOfMerit, compare
from characterize.pictures.figures_of_merit import draw
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import MISSING, Table, quantity, three_digits

FIELDS = ("system", "benchmark", "column", "value", "unit", "ratio", "kind", "method", "accelerators", "low", "high")
"""Columns of the worksheet as CSV."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="FILE", help="worksheet of the reference system, TOML")
    add("--proposed", type=Path, metavar="FILE", help="worksheet of the proposed system (default: write an empty one)")


def measure(options: argparse.Namespace) -> Result:
    sheets = {"reference": worksheet.load(options.reference)}
    settings = {"reference": str(options.reference)}
    data = {}
    if options.proposed:
        sheets["proposed"] = worksheet.load(options.proposed)
        settings["proposed"] = str(options.proposed)
        try:
            data = asdict(compare(sheets["reference"].figures, sheets["proposed"].figures))
        except ValueError as error:
            raise CharacterizeError(f"{options.proposed}: benchmarks: {error}") from error
    systems = {role: asdict(sheet) for role, sheet in sheets.items()}
    return Result(name="fom", verb="fom", settings=settings, data=data | {"systems": systems})


def tables(result: Result) -> Iterator[Table]:
    if "ratios" in result.data:
        yield _improvement_table(result)
    for role, sheet in read(result).items():
        yield _worksheet_table(role, sheet)


def read(result: Result) -> dict[str, Worksheet]:
    """Worksheets of a result by role: reference and, if there is one, proposed."""
    return {role: msgspec.convert(sheet, Worksheet) for role, sheet in result.data["systems"].items()}


def _improvement_table(result: Result) -> Table:
    ratios, means = result.data["ratios"], result.data["geometric_means"]
    rows = [[benchmark_title(name), *(_times(ratio[column]) for column in COLUMNS)] for name, ratio in ratios.items()]
    proposed = read(result)["proposed"]
    used = [figure for name in ratios for figure in proposed.figures[name].values()]
    projected = sum(figure.kind == PROJECTED for figure in used)
    return Table(
        title=f"{proposed.system} over {read(result)['reference'].system}",
        columns=("benchmark", *COLUMNS),
        rows=[*rows, ["geometric mean", *(_times(means[column]) for column in COLUMNS)]],
        note="Ratios to the reference system's baseline. A benchmark without an optimized figure counts with its "
        f"baseline. {projected} of {len(used)} figures are projected.",
    )


def _worksheet_table(role: str, sheet: Worksheet) -> Table:
    return Table(
        title=f"Worksheet of the {role} system: {sheet.system}",
        columns=("benchmark", "column", "kind", "method", "accelerators", "figure of merit", "interval"),
        rows=[
            _worksheet_row(name, column, figure)
            for name, columns in sheet.figures.items()
            for column, figure in columns.items()
        ],
        num_left=4,
        note="Higher is better. trainings/h: 60 / minutes to train, times the trainings at the same time.",
    )


def _worksheet_row(name: str, column: str, figure: FigureOfMerit) -> list[str]:
    interval = " to ".join(map(three_digits, figure.interval)) if figure.interval else MISSING
    origin = (column, figure.kind, figure.method, str(figure.accelerators or MISSING))
    return [benchmark_title(name), *origin, _amount(figure), interval]


def _amount(figure: FigureOfMerit) -> str:
    is_time = figure.unit.endswith("/h")
    return f"{three_digits(figure.value)} {figure.unit}" if is_time else quantity(figure.value, figure.unit)


def _times(ratio: float) -> str:
    return f"{three_digits(ratio)} x"


def documents(result: Result) -> dict[str, str]:
    """Worksheets as CSV; without a proposed system also an empty worksheet to fill."""
    sheets = read(result)
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for sheet in sheets.values():
        writer.writerows(_records(sheet, sheets["reference"].figures))
    files = {"fom.csv": text.getvalue()}
    if "proposed" not in sheets:
        files["fom_worksheet.toml"] = worksheet.template(list(sheets["reference"].figures))
    return files


def _records(sheet: Worksheet, reference: Mapping[str, Mapping[str, FigureOfMerit]]) -> Iterator[dict]:
    for name, columns in sheet.figures.items():
        for column, figure in columns.items():
            record = asdict(figure)
            low, high = record.pop("interval") or ("", "")
            ratio = figure.value / reference[name][BASELINE].value if name in reference else ""
            yield {"system": sheet.system, "benchmark": name, "column": column, **record, "ratio": ratio} | {
                "low": low,
                "high": high,
            }


def figures(result: Result) -> dict[str, Figure]:
    return {"fom": draw(result)} if "ratios" in result.data else {}
