# SPDX-License-Identifier: Apache-2.0
"""`analyze PATH --output DIR`: the tables and figures of the MLPerf HPC and HPC AI500 papers, from logs alone."""

import argparse
from collections.abc import Sequence

from matplotlib.figure import Figure

from compliance.analysis import hpc_ai500, tables
from compliance.analysis.entry_figures import EntryFigures
from compliance.commands import _analysis
from compliance.files import atomic_write
from compliance.reports import analysis_formats
from compliance.reports.analysis_formats import Analysis
from compliance.reports.pictures import compute, scaling, time_split, variation
from compliance.reports.tables import printable

TERA = 1e12


def run(arguments: argparse.Namespace) -> int:
    atomic_write.check_folder(arguments.output)
    choice, entries = _analysis.read(arguments.path, arguments.rules)
    peak = None if arguments.peak is None else arguments.peak * TERA
    analysis = Analysis(
        title=f"Analysis of {arguments.path.absolute().name}",
        rules=str(choice),
        tables=[*tables.tables(entries), *hpc_ai500.tables(entries, peak)],
        drawings=_analysis.drawings(_figures(entries)),
    )
    print(f"rules {printable(str(choice))}\n\n{analysis_formats.text(analysis.tables)}")
    _analysis.write(analysis, arguments.output)
    return 0


def _figures(entries: Sequence[EntryFigures]) -> dict[str, tuple[str, Figure | None]]:
    figures = {
        "figure_1_time_split": ("Figure 1: time to solution by phase", time_split.draw(entries)),
        "figure_3_time_and_epochs": ("Figure 3: time and epochs over units", scaling.draw_time_and_epochs(entries)),
        "figure_5_weak_scaling": ("Figure 5: training throughput over units", scaling.draw_weak_scaling(entries)),
        "variation": ("Run-to-run variation and its causes", variation.draw(entries)),
    }
    for benchmark in dict.fromkeys(entry.benchmark for entry in entries):
        timed = [entry for entry in entries if entry.benchmark == benchmark and entry.scaling == "strong"]
        title = f"Figure 2: epochs, throughput and compute time of {benchmark}"
        figures[f"figure_2_compute_{benchmark}"] = (title, compute.draw(timed))
    return dict(sorted(figures.items()))
