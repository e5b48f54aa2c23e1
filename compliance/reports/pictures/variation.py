# SPDX-License-Identifier: Apache-2.0
"""Run-to-run variation of the compute time of each entry, split into epochs and throughput."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from compliance.analysis.entry_figures import EntryFigures
from compliance.analysis.variability import Variability, variability
from compliance.reports.pictures import style

BAR_INCHES, MARGIN_INCHES = 0.25, 1.2
EPOCHS, RATE = style.COLORS[0], style.COLORS[1]


def draw(entries: Sequence[EntryFigures]) -> Figure | None:
    """Two bars for each entry: the deviation that epochs alone, and throughput alone, explain; None without any."""
    found = [(entry, varied) for entry in entries if (varied := variability(entry))]
    if not found:
        return None
    figure, (panel,) = style.new_figure(width=8.5, height=BAR_INCHES * len(found) + MARGIN_INCHES)
    rows = range(len(found))
    for row, (_, varied) in zip(rows, found, strict=True):
        panel.barh(row, 100 * varied.relative_deviation, height=0.72, color=style.GRID)
        panel.barh(row - 0.18, _percent(varied, varied.epochs_share), height=0.34, color=EPOCHS)
        panel.barh(row + 0.18, _percent(varied, varied.throughput_share), height=0.34, color=RATE, hatch="////")
    panel.set_yticks(list(rows), [f"{style.words(entry.benchmark)}  {style.name_of(entry)}" for entry, _ in found])
    panel.set(ylim=(len(found) - 0.4, -0.6), xlabel="standard deviation of the compute time, % of its mean")
    panel.tick_params(axis="y", length=0, labelsize=8.5)
    panel.grid(visible=False, axis="y")
    handles = [Patch(facecolor=color, hatch=hatch) for color, hatch in ((style.GRID, ""), (EPOCHS, ""), (RATE, "////"))]
    figure.legend(handles, ["in all", "due to epochs", "due to throughput"], loc="outside upper right", ncols=3)
    return figure


def _percent(varied: Variability, share: float) -> float:
    return 100 * varied.relative_deviation * share
