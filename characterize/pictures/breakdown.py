# SPDX-License-Identifier: Apache-2.0
"""Picture of a training step: kinds of operators, timeline of the gradient buckets, and node utilization."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from characterize.pictures.style import COLORS, QUIET, footnote, new_figure
from characterize.results.result import Result
from characterize.results.tables import percent

PARTS = (
    ("wait for data", "#d5d9de"),
    ("memcpy in", COLORS[1]),
    ("all-reduce", COLORS[0]),
    ("memcpy out", COLORS[2]),
)
SMALLEST_LABELLED = 0.03


def draw(result: Result, title: str) -> Figure:
    figure, axes = new_figure(3, 1, width=7.6, height=7.2, height_ratios=(2.6, 2.2, 1.6))
    _draw_kinds(axes[0], result.data["kinds"], f"{title}: where a training step goes")
    _draw_buckets(axes[1], result.data["buckets"])
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
    axes.barh(names, shares, color=[COLORS[0] if share >= SMALLEST_LABELLED else QUIET for share in shares], height=0.7)
    for place, share in enumerate(shares):
        axes.annotate(
            percent(share), (share, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title=title, xlabel="share of the step's time", xlim=(0, max(shares) * 1.12))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def _draw_buckets(axes: Axes, buckets: list[dict]) -> None:
    """Draw rank 0's buckets of the last step; time 0 is the start of the backward pass."""
    last = [bucket for bucket in buckets if bucket["step"] == max(bucket["step"] for bucket in buckets)]
    last.sort(key=lambda bucket: bucket["ready_s"])
    for place, bucket in enumerate(last):
        moments = [bucket[name] - bucket["backward_s"] for name in ("ready_s", "packed_s", "reduced_s", "unpacked_s")]
        starts = [0.0, *moments[:-1]]
        for (_, color), start, stop in zip(PARTS, starts, moments, strict=True):
            axes.barh(place, 1e3 * (stop - start), left=1e3 * start, color=color, height=0.7)
    axes.set_yticks(range(len(last)), [f"{bucket['num_bytes'] / 1e6:.1f} MB" for bucket in last])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title="Gradients on their way, bucket by bucket", xlabel="ms since the backward pass began")
    handles = [axes.barh(0, 0, color=color, label=name) for name, color in PARTS]
    axes.legend(handles=handles, ncols=4, loc="upper left", bbox_to_anchor=(0.0, -0.28))


def _draw_node(axes: Axes, samples: list[dict]) -> None:
    times = [sample["time_s"] for sample in samples]
    axes.plot(times, [sample["cpu_percent"] for sample in samples], color=COLORS[0], label="processors busy")
    if any(sample["accelerator_percent"] is not None for sample in samples):
        busy = [sample["accelerator_percent"] or 0 for sample in samples]
        axes.plot(times, busy, color=COLORS[1], label="accelerators busy")
    axes.set(title="The node meanwhile", xlabel="s", ylabel="%", ylim=(0, 105))
    memory = axes.twinx()
    memory.plot(times, [sample["process_bytes"] / 2**30 for sample in samples], color=COLORS[2], linestyle="--")
    memory.set_ylabel("memory of the ranks (GiB)", color=COLORS[2])
    memory.set_ylim(bottom=0)
    memory.spines["right"].set_visible(True)
    axes.legend(loc="lower right")
