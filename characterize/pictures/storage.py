# SPDX-License-Identifier: Apache-2.0
"""Picture of read rates: one line per way to read, one mark for cold cache, warm cache and direct I/O."""

from matplotlib.figure import Figure

from characterize.pictures.style import COLORS, GRID, MARKERS, TEXT, count_axis, footnote, new_figure
from characterize.results.result import Result
from characterize.results.tables import quantity

STATES = {"cold": COLORS[0], "warm": COLORS[1], "direct": COLORS[2]}
HEIGHT = 0.26


def draw(result: Result) -> Figure:
    rows = [row for row in result.data["rows"] if "bytes_per_s" in row]
    names = list(dict.fromkeys(row["read"] for row in rows))
    figure, axes = new_figure(height=1.6 + 0.55 * len(names))
    for place, (state, color) in enumerate(STATES.items()):
        chosen = [row for row in rows if row["state"] == state]
        positions = [names.index(row["read"]) + (place - 1) * HEIGHT for row in chosen]
        rates = [row["bytes_per_s"] for row in chosen]
        axes.plot(rates, positions, linestyle="none", marker=MARKERS[place], markersize=7, color=color, label=state)
        for position, rate in zip(positions, rates, strict=True):
            axes.annotate(
                quantity(rate, "B/s"),
                (rate, position),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=TEXT,
            )
    axes.set(xscale="log", xlabel="rate of the files' bytes", title=f"Storage, {result.settings['file_system']}")
    axes.set_yticks(range(len(names)), names)
    for boundary in range(1, len(names)):
        axes.axhline(boundary - 0.5, color=GRID, linewidth=0.8)
    axes.grid(visible=False, axis="y")
    axes.grid(color=GRID, axis="x")
    axes.set_xlim(right=axes.get_xlim()[1] * 3)
    axes.set_ylim(len(names) - 0.5, -0.5)
    count_axis(axes.xaxis, "B/s")
    figure.legend(loc="outside upper right", ncols=3)
    footnote(figure, f"Median; {result.machine.describe()}; {result.written_at[:10]}")
    return figure
