# SPDX-License-Identifier: Apache-2.0
"""The common part of `analyze` and `compare`: entries with their figures, and a folder of results."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from compliance.analysis.entry_figures import EntryFigures, entry_figures
from compliance.checks import rules_for
from compliance.files import atomic_write
from compliance.files.errors import UserError
from compliance.reports import analysis_formats
from compliance.reports.analysis_formats import Analysis, Drawing
from compliance.reports.pictures import style
from compliance.reports.tables import printable
from compliance.scoring.score import score_entry
from compliance.submissions import reader, rules_choice
from compliance.submissions.rules_choice import RuleSetChoice


def read(path: Path, rules: str | None) -> tuple[RuleSetChoice, list[EntryFigures]]:
    """The rule set of a submission, and its entries by benchmark, scaling, division and time."""
    submission = reader.read(path)
    choice = rules_choice.choose(submission, rules)
    figures = []
    for entry in submission.entries:
        if (limits := rules_for(entry, choice.ruleset)) is not None:
            figures.append(entry_figures(entry, limits, score_entry(entry, limits)))
            entry.forget_logs()
    if not any(entry.runs for entry in figures):
        raise UserError(f"{path}: no complete run of a benchmark that {choice.ruleset.file_name} knows")
    return choice, sorted(figures, key=_order)


def _order(entry: EntryFigures) -> tuple:
    minutes = entry.score.scaled_minutes
    return entry.benchmark, entry.scaling, entry.division, minutes is None, minutes or 0.0, entry.org, entry.system


def drawings(figures: Mapping[str, tuple[str, Figure | None]]) -> dict[str, Drawing]:
    """The figures that could be drawn, by file name: (title, figure)."""
    return {
        name: Drawing(title=title, svg=style.svg(figure), png=style.png(figure))
        for name, (title, figure) in figures.items()
        if figure is not None
    }


def write(analysis: Analysis, folder: Path) -> None:
    """Write all files of an analysis, the page last, and say where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in analysis_formats.files(analysis).items():
        atomic_write.write(folder / name, content)
    print(printable(f"{folder / 'index.html'}"))
