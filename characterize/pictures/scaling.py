# SPDX-License-Identifier: Apache-2.0
"""Picture of throughput and efficiency over ranks, beside perfect scaling (figure 12 of HPC AI500)."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from characterize.models.scaling import Point
from characterize.pictures.style import COLORS, MARKERS, QUIET, footnote, new_figure
from characterize.results.result import Result


def draw(result: Result, curves: Mapping[str, Sequence[Point]], title: str) -> Figure:
    figure, (rates, shares) = new_figure(2, 1, height=5.6, sharex=True, height_ratios=(2, 1))
    for index, (kind, points) in enumerate(curves.items()):
        ranks, middle = [point.num_ranks for point in points], [point.rate for point in points]
        spread = [[point.rate - point.low for point in points], [point.high - point.rate for point in points]]
        look = {"color": COLORS[index], "marker": MARKERS[index], "linewidth": 1.6}
        rates.errorbar(ranks, middle, yerr=spread, capsize=3, label=kind, **look)
        rates.plot(
            ranks, [middle[0] * rank / ranks[0] for rank in ranks], color=QUIET, linestyle=(0, (4, 3)), linewidth=1
        )
        shares.plot(ranks, [100 * point.efficiency for point in points], label=kind, **look)
    shares.axhline(100, color=QUIET, linestyle=(0, (4, 3)), linewidth=1)
    rates.set(title=f"{title}: throughput over ranks", ylabel="samples/s", xscale="log", yscale="log")
    rates.set_xscale("log", base=2)
    shares.set(ylabel="efficiency (%)", xlabel="ranks", ylim=(0, None))
    every = sorted({point.num_ranks for points in curves.values() for point in points})
    shares.set_xticks(every, [str(rank) for rank in every])
    shares.minorticks_off()
    rates.yaxis.set_minor_formatter("{x:g}")
    rates.yaxis.set_major_formatter("{x:g}")
    rates.legend(loc="upper left", title="dashed: perfect")
    footnote(figure, f"Median and quartiles; {result.machine.describe()}; {result.written_at[:10]}")
    return figure
