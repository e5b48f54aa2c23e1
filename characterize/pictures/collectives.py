# SPDX-License-Identifier: Apache-2.0
"""Picture of busbw over message size: one curve per library and collective, with the benchmarks' gradients marked."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from characterize.pictures.style import COLORS, MARKERS, PAPER, color_of, count_axis, footnote, new_figure, size_axis
from characterize.results.result import Result


def draw(result: Result) -> Figure:
    figure, axes = new_figure()
    rows = [row for row in result.data["rows"] if "busbw" in row]
    curves = sorted({_curve(row) for row in rows})
    for index, curve in enumerate(curves):
        points = sorted((row["bytes"], row["busbw"]) for row in rows if _curve(row) == curve)
        axes.plot(
            *zip(*points, strict=True),
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=4.5,
            linewidth=1.6,
            label=", ".join(curve),
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="message size",
        ylabel="bus bandwidth per rank",
        title="Collective communication",
    )
    axes.set_xscale("log", base=2)
    size_axis(axes.xaxis)
    count_axis(axes.yaxis, "B/s")
    _mark_messages(axes, result.data["messages"])
    figure.legend(loc="outside upper left", ncols=3)
    footnote(figure, f"{result.data['num_ranks']} ranks; {result.machine.describe()}; {result.written_at[:10]}")
    return figure


def _curve(row: dict) -> tuple[str, str, str]:
    """The keys that distinguish curves: library, collective and data type."""
    return row["library"], row["collective"].replace("_", " "), row["data_type"]


def _mark_messages(axes: Axes, messages: dict[str, int]) -> None:
    """Mark the size of each benchmark's fp32 gradients."""
    for index, (title, num_bytes) in enumerate(sorted(messages.items(), key=lambda item: item[1])):
        color = color_of(title, index)
        axes.axvline(num_bytes, color=color, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            title,
            xy=(num_bytes, 0.02 + 0.25 * (index % 4)),
            xycoords=("data", "axes fraction"),
            xytext=(-2, 0),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            fontsize=8,
            color=color,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6},
        )
