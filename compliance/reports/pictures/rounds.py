# SPDX-License-Identifier: Apache-2.0
"""Two rounds: the speed-up of each pair of entries as a product of its causes."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from compliance.analysis.comparison import Comparison
from compliance.reports.pictures import style

CAUSES = {
    "data set": style.COLORS[5],
    "epochs": style.COLORS[0],
    "units": style.COLORS[2],
    "software": style.COLORS[1],
    "hardware and software": style.COLORS[3],
    "staging and start-up": style.COLORS[4],
}
ROW_INCHES, MARGIN_INCHES = 0.42, 1.5


def draw(comparisons: Sequence[Comparison], earlier: str, later: str) -> Figure | None:
    """A row for each pair whose causes are all known: factors above 1 to the right, below 1 to the left."""
    known = [pair for pair in comparisons if None not in pair.factors.values() and not pair.is_same_result]
    if not known:
        return None
    figure, (panel,) = style.new_figure(width=9.5, height=ROW_INCHES * len(known) + MARGIN_INCHES)
    used: dict[str, None] = {}
    for row, pair in enumerate(known):
        ends = [0.0, 0.0]
        for cause, factor in pair.factors.items():
            width = math.log2(factor or 1)
            side = int(width > 0)
            label = cause if cause not in used else f"_{cause}"
            panel.barh(
                row, width, left=ends[side], height=0.62, color=CAUSES[cause], edgecolor=style.PAPER, label=label
            )
            ends[side] += width
            used[cause] = None
        panel.plot(math.log2(pair.speedup or 1), row, "D", color=style.TEXT, markersize=5, mec=style.PAPER, zorder=4)
        panel.annotate(f" x {pair.speedup:.2f}", (ends[1], row), va="center", fontsize=8)
    panel.set_yticks(list(range(len(known))), [_name(pair) for pair in known])
    panel.set(
        ylim=(len(known) - 0.4, -0.6),
        xlabel=f"{style.words(later)} against {style.words(earlier)}: factor of the speed-up, ◆ in all",
    )
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.xaxis.set_major_formatter(lambda value, _: f"x {2.0**value:g}")
    panel.axvline(0, color=style.QUIET, linewidth=0.8)
    panel.margins(x=0.12)
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0, labelsize=8)
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def _name(pair: Comparison) -> str:
    kind = f"{pair.later.benchmark}, {pair.later.division}: {pair.basis}"
    return f"{style.words(kind)}\n{style.words(pair.earlier.org)} → {style.words(pair.later.org)}"
