# SPDX-License-Identifier: Apache-2.0
"""Picture of a procurement: the ratio of each benchmark to the reference system, baseline and optimized."""

from matplotlib.figure import Figure

from characterize.models.figure_of_merit import COLUMNS
from characterize.pictures.style import COLORS, QUIET, footnote, new_figure
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import Result
from characterize.results.tables import three_digits

BAR = 0.38


def draw(result: Result) -> Figure:
    rows = {benchmark_title(name): ratio for name, ratio in result.data["ratios"].items()}
    rows["geometric mean"] = result.data["geometric_means"]
    systems = {role: sheet["system"] for role, sheet in result.data["systems"].items()}
    figure, axes = new_figure(height=1.6 + 0.55 * len(rows))
    for index, column in enumerate(COLUMNS):
        values = [ratio[column] for ratio in rows.values()]
        places = [place + (index - 0.5) * BAR for place in range(len(rows))]
        bars = axes.barh(places, values, height=0.92 * BAR, color=COLORS[index], label=column)
        axes.bar_label(bars, [f"{three_digits(value)} x" for value in values], padding=4, fontsize=8)
    axes.axvline(1, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xlim(0, 1.15 * max(max(ratio.values()) for ratio in rows.values()))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title=systems["proposed"], xlabel=f"times the baseline of {systems['reference']}")
    figure.legend(loc="outside upper right", ncols=len(COLUMNS))
    footnote(figure, f"Figures of merit with their methods: fom.csv; {result.written_at[:10]}")
    return figure
