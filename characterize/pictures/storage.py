# SPDX-License-Identifier: Apache-2.0
"""Picture of storage rates: one line per test, one mark for each state of the caches and depth of direct I/O."""

from matplotlib.figure import Figure

from characterize.pictures.style import COLORS, GRID, MARKERS, TEXT, count_axis, footnote, new_figure
from characterize.results.result import Result
from characterize.results.tables import quantity

LINE_HEIGHT = 0.2


def draw(result: Result) -> Figure:
    rows = [row for row in result.data["rows"] if "bytes_per_s" in row]
    tests = {name: [row for row in rows if row["test"] == name] for name in dict.fromkeys(row["test"] for row in rows)}
    states = list(dict.fromkeys(row["state"] for row in rows))
    figure, axes = new_figure(height=1.6 + 0.22 * len(rows) + 0.12 * len(tests), width=8.2)
    position, centers, ends = 0.0, [], []
    for own in tests.values():
        places = [position + LINE_HEIGHT * number for number in range(len(own))]
        for place, row in zip(places, own, strict=True):
            _draw_mark(axes, place, row, states.index(row["state"]))
        centers.append((places[0] + places[-1]) / 2)
        position = places[-1] + 2 * LINE_HEIGHT
        ends.append(position - LINE_HEIGHT)
    settings = result.settings
    clients = f", {settings['clients']} clients together" if settings["clients"] > 1 else ""
    axes.set(xscale="log", xlabel="rate", title=f"Storage, {settings['file_system']}{clients}")
    axes.set_yticks(centers, list(tests))
    for end in ends[:-1]:
        axes.axhline(end, color=GRID, linewidth=0.8)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(right=axes.get_xlim()[1] * 3)
    axes.set_ylim(ends[-1], -LINE_HEIGHT)
    count_axis(axes.xaxis, "B/s")
    handles = {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=4)
    footnote(figure, f"Median; {result.machine.describe()}; {result.written_at[:10]}")
    return figure


def _draw_mark(axes, place: float, row: dict, state: int) -> None:
    marker, color = MARKERS[state % len(MARKERS)], COLORS[state % len(COLORS)]
    rate = row["bytes_per_s"]
    axes.plot([rate], [place], linestyle="none", marker=marker, markersize=6, color=color, label=row["state"])
    axes.annotate(
        quantity(rate, "B/s"),
        (rate, place),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
        color=TEXT,
    )
