# SPDX-License-Identifier: Apache-2.0
"""Pictures of predicted and published minutes, and of predicted minutes over ranks for each batch size."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from characterize.models.validation import QUESTIONS, SPLITS
from characterize.pictures.style import COLORS, MARKERS, QUIET, footnote, new_figure, plain_log_axis
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import Result

BAND = "#f0f2f4"
SHOWN_QUESTIONS = QUESTIONS[:2]


def draw_validation(result: Result) -> Figure:
    """One row per question, one column per split; predictions on the diagonal are right."""
    size = {"width": 3.1 * len(SPLITS), "height": 3.2 * len(SHOWN_QUESTIONS)}
    figure, panels = new_figure(len(SHOWN_QUESTIONS), len(SPLITS), **size, sharex=True, sharey=True)
    benchmarks = sorted({row["benchmark"] for row in result.data["validation"]})
    for line, question in zip(panels, SHOWN_QUESTIONS, strict=True):
        for panel, split in zip(line, SPLITS, strict=True):
            asked = [row for row in result.data["validation"] if (row["question"], row["split"]) == (question, split)]
            _draw_trials(panel, [row for row in asked if row["predicted_minutes"] is not None], benchmarks)
            panel.set_title(f"{question}\n{split} held out", fontsize=9.5)
        line[0].set_ylabel("predicted minutes")
    for panel in panels[-1]:
        panel.set_xlabel("published minutes")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper left", ncols=len(benchmarks))
    rounds = ", v".join(result.settings["rounds"])
    footnote(figure, f"Public entries of MLPerf HPC v{rounds}; bars: 90 % intervals; band: within a factor of 2.")
    return figure


def _draw_trials(panel: Axes, rows: Sequence[dict], benchmarks: Sequence[str]) -> None:
    published = [row["published_minutes"] for row in rows]
    ends = [min(published) / 1.5, max(published) * 1.5]
    panel.plot(ends, ends, color=QUIET, linewidth=1)
    panel.fill_between(ends, [end / 2 for end in ends], [end * 2 for end in ends], color=BAND, zorder=0)
    for index, benchmark in enumerate(benchmarks):
        chosen = [row for row in rows if row["benchmark"] == benchmark]
        spread = [
            [row["predicted_minutes"] - row["low"] for row in chosen],
            [row["high"] - row["predicted_minutes"] for row in chosen],
        ]
        panel.errorbar(
            [row["published_minutes"] for row in chosen],
            [row["predicted_minutes"] for row in chosen],
            yerr=spread,
            linestyle="none",
            marker=MARKERS[index % len(MARKERS)],
            markersize=4.5,
            color=COLORS[index % len(COLORS)],
            elinewidth=0.6,
            alpha=0.85,
            label=benchmark_title(benchmark),
        )
    panel.set(xscale="log", yscale="log", xlim=ends, ylim=[ends[0] / 2, ends[1] * 2])
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter("{x:g}")


def draw_choice(result: Result) -> Figure:
    """Minutes over ranks, one curve per batch size; the interval of the fastest batch size is shaded."""
    figure, axes = new_figure()
    choices, settings = result.data["choices"], result.settings
    for index, batch in enumerate(sorted({choice["global_batch_size"] for choice in choices})):
        chosen = [choice for choice in choices if choice["global_batch_size"] == batch]
        ranks = [choice["num_ranks"] for choice in chosen]
        color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
        minutes = [choice["minutes"] for choice in chosen]
        axes.plot(ranks, minutes, color=color, marker=marker, label=f"batch {batch}")
        if any(choice["is_fastest"] for choice in chosen):
            low, high = ([choice[end] for choice in chosen] for end in ("low", "high"))
            axes.fill_between(ranks, low, high, color=color, alpha=0.1, linewidth=0)
            if len(chosen) == 1:
                axes.errorbar(ranks, minutes, yerr=[[minutes[0] - low[0]], [high[0] - minutes[0]]], color=color)
    _mark_fastest(axes, next(choice for choice in choices if choice["is_fastest"]))
    title = f"Time to train {benchmark_title(settings['benchmark'])} on {settings['accelerator']}"
    axes.set(xscale="log", yscale="log", xlabel="ranks", ylabel="minutes to train", title=title)
    _label_ranks(axes, sorted({choice["num_ranks"] for choice in choices}))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    entries = f"{settings['num_entries']} public entries of MLPerf HPC v{', v'.join(settings['rounds'])}"
    footnote(figure, f"Predicted from {entries}; shaded: 90 % interval of the fastest batch size.")
    return figure


def _mark_fastest(axes: Axes, best: dict) -> None:
    axes.annotate(
        f"fastest: {best['minutes']:.3g} min",
        (best["num_ranks"], best["minutes"]),
        xytext=(-8, -14),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
    )


def _label_ranks(axes: Axes, ranks: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, [str(rank) for rank in ranks])
    axes.minorticks_off()
    plain_log_axis(axes.yaxis)
