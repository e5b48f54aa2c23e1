# SPDX-License-Identifier: Apache-2.0
"""Picture of a training step: kinds of operators, phases with their communication, and the node over time."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from characterize.pictures.style import COLORS, QUIET, footnote, new_figure
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import Result
from characterize.results.tables import percent, seconds

PHASE_COLORS = {
    "forward": COLORS[2],
    "backward": COLORS[0],
    "exposed_communication": COLORS[1],
    "optimizer": COLORS[4],
}
HIDDEN_COLOR = "#e8c39a"
SMALLEST_LABELED = 0.03


def draw(result: Result, phases: Mapping[str, str]) -> Figure:
    """`phases`: titles of the phases that add up to a step."""
    figure, axes = new_figure(3, 1, width=7.6, height=7.4, height_ratios=(2.8, 1.3, 1.6))
    title = benchmark_title(result.settings["benchmark"])
    _draw_kinds(axes[0], result.data["kinds"], f"{title}: time of a step by kind of operator, one process")
    _draw_phases(axes[1], result.data["phases"], phases, result.settings["ranks"])
    _draw_node(axes[2], result.data["samples"])
    size = " x ".join(map(str, result.settings["size"]))
    footnote(
        figure, f"{result.settings['num_samples']} x {size}; {result.machine.describe()}; {result.written_at[:10]}"
    )
    return figure


def _draw_kinds(axes: Axes, kinds: dict[str, float], title: str) -> None:
    ordered = sorted((item for item in kinds.items() if item[1]), key=lambda item: -item[1])
    total = sum(kinds.values())
    names, shares = [name for name, _ in ordered], [value / total for _, value in ordered]
    colors = [COLORS[0] if share >= SMALLEST_LABELED else QUIET for share in shares]
    axes.barh(names, shares, color=colors, height=0.7)
    for place, share in enumerate(shares):
        axes.annotate(
            percent(share), (share, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title=title, xlabel="share of the time", xlim=(0, max(shares) * 1.12))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def _draw_phases(axes: Axes, phases: dict[str, float], titles: Mapping[str, str], num_ranks: int) -> None:
    """One bar of the phases that add up to a step, and below it the communication that is hidden in it."""
    start = 0.0
    for name, title in titles.items():
        label = f"{title}, {seconds(phases[name])}"
        axes.barh("step", 1e3 * phases[name], left=1e3 * start, color=PHASE_COLORS[name], height=0.7, label=label)
        start += phases[name]
    last_gradient = phases["forward"] + phases["backward"]
    hidden, exposed = phases["hidden_communication"], phases["exposed_communication"]
    label = f"communication, hidden, {seconds(hidden)}"
    left = 1e3 * (last_gradient - hidden)
    axes.barh("communication", 1e3 * hidden, left=left, color=HIDDEN_COLOR, height=0.7, label=label)
    axes.barh("communication", 1e3 * exposed, left=1e3 * last_gradient, color=COLORS[1], height=0.7)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title=f"A step of {num_ranks} ranks together", xlabel="ms, mean over steps and ranks")
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(-0.02, -0.5))


def _draw_node(axes: Axes, samples: list[dict]) -> None:
    times = [sample["time_s"] for sample in samples]
    axes.plot(times, [sample["cpu_percent"] for sample in samples], color=COLORS[0], label="processors busy (left)")
    if any(sample["accelerator_percent"] is not None for sample in samples):
        busy = [sample["accelerator_percent"] or 0 for sample in samples]
        axes.plot(times, busy, color=COLORS[1], label="accelerators busy (left)")
    axes.set(title="Node while measuring", xlabel="s", ylabel="%", ylim=(0, 105))
    memory = axes.twinx()
    gibibytes = [sample["process_bytes"] / 2**30 for sample in samples]
    memory.plot(times, gibibytes, color=COLORS[2], linestyle="--", label="memory of the ranks (right)")
    memory.set_ylabel("GiB")
    memory.set_ylim(bottom=0)
    memory.spines["right"].set_visible(True)
    handles = [*axes.get_lines(), *memory.get_lines()]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.02, -0.32), ncols=3)
