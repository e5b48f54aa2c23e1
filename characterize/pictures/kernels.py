# SPDX-License-Identifier: Apache-2.0
"""Picture of the rate of every timed kernel over its arithmetic intensity, one panel per precision."""

from matplotlib.figure import Figure

from characterize.pictures.style import COLORS, MARKERS, QUIET, count_axis, footnote, new_figure
from characterize.results.result import Result

TITLES = {
    "attention": "attention",
    "conv2d": "2D convolution",
    "conv3d": "3D convolution",
    "gemm": "GEMM",
    "gru": "GRU",
    "lstm": "LSTM",
    "rnn": "RNN",
}


def draw(result: Result) -> Figure:
    precisions = result.settings["precisions"]
    figure, axes = new_figure(1, len(precisions), width=max(7.2, 4.6 * len(precisions)), sharey=True, squeeze=False)
    families = sorted({row["family"] for row in result.data["kernels"]})
    for panel, precision in zip(axes[0], precisions, strict=True):
        rows = [row for row in result.data["kernels"] if row["precision"] == precision]
        for index, family in enumerate(families):
            for direction in ("forward", "backward"):
                chosen = [row for row in rows if row["family"] == family and row["direction"] == direction]
                panel.plot(
                    [row["intensity"] for row in chosen],
                    [row["flops_per_s"] for row in chosen],
                    linestyle="none",
                    marker=MARKERS[index % len(MARKERS)],
                    markersize=6,
                    color=COLORS[index % len(COLORS)],
                    markerfacecolor=COLORS[index % len(COLORS)] if direction == "forward" else "white",
                    label=TITLES[family] if direction == "forward" else None,
                )
        if rows:
            _mark_best(panel, max(row["flops_per_s"] for row in rows))
        panel.set(xscale="log", yscale="log", xlabel="arithmetic intensity (FLOP/B)", title=precision)
    axes[0][0].set_ylabel("attained")
    count_axis(axes[0][0].yaxis, "FLOP/s")
    for panel in axes[0]:
        count_axis(panel.xaxis)
    figure.legend(
        *axes[0][0].get_legend_handles_labels(),
        loc="outside right upper",
        title="filled: forward\nhollow: backward\ndashed: fastest",
    )
    footnote(figure, f"Median, cold inputs; {result.machine.describe()}; {result.written_at[:10]}")
    return figure


def _mark_best(panel, best: float) -> None:
    panel.axhline(best, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
