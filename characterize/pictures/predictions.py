# SPDX-License-Identifier: Apache-2.0
"""Predicted beside published minutes, and minutes over ranks for each batch size."""

from matplotlib.figure import Figure

from characterize.models.validation import QUESTIONS
from characterize.pictures.style import COLORS, MARKERS, QUIET, footnote, new_figure
from characterize.results.result import Result


def draw_validation(result: Result) -> Figure:
    """One panel a question: on the diagonal the prediction is right."""
    figure, panels = new_figure(1, len(QUESTIONS), width=12, height=4.6, sharex=True, sharey=True)
    benchmarks = sorted({row["setting"]["benchmark"] for row in result.data["validation"]})
    for panel, question in zip(panels, QUESTIONS, strict=True):
        rows = [row for row in result.data["validation"] if row["question"] == question]
        rows = [row for row in rows if row["predicted_minutes"] is not None]
        ends = [
            min(row["published_minutes"] for row in rows) / 1.5,
            max(row["published_minutes"] for row in rows) * 1.5,
        ]
        panel.plot(ends, ends, color=QUIET, linewidth=1)
        panel.fill_between(ends, [end / 2 for end in ends], [end * 2 for end in ends], color="#f0f2f4", zorder=0)
        for index, benchmark in enumerate(benchmarks):
            chosen = [row for row in rows if row["setting"]["benchmark"] == benchmark]
            published, predicted = [[row[f"{one}_minutes"] for row in chosen] for one in ("published", "predicted")]
            spread = [
                [row["predicted_minutes"] - row["low"] for row in chosen],
                [row["high"] - row["predicted_minutes"] for row in chosen],
            ]
            panel.errorbar(
                published,
                predicted,
                yerr=spread,
                linestyle="none",
                marker=MARKERS[index],
                markersize=5,
                color=COLORS[index],
                elinewidth=0.7,
                alpha=0.85,
                label=benchmark,
            )
        panel.set(xscale="log", yscale="log", title=question, xlabel="published minutes", xlim=ends, ylim=ends)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter("{x:g}")
    panels[0].set_ylabel("predicted minutes")
    panels[0].legend(loc="upper left")
    footnote(
        figure, "Each public entry of MLPerf HPC v0.7 and v2.0 predicted from all others; band: within a factor of 2."
    )
    return figure


def draw_choice(result: Result) -> Figure:
    """Minutes over ranks, one curve a batch size, with intervals."""
    figure, axes = new_figure()
    choices = result.data["choices"]
    for index, batch in enumerate(sorted({choice["global_batch_size"] for choice in choices})):
        chosen = [choice for choice in choices if choice["global_batch_size"] == batch]
        ranks = [choice["num_ranks"] for choice in chosen]
        color = COLORS[index % len(COLORS)]
        marker = MARKERS[index % len(MARKERS)]
        axes.plot(ranks, [one["minutes"] for one in chosen], color=color, marker=marker, label=f"batch {batch}")
        if any(one["is_fastest"] for one in chosen):
            low, high = [one["low"] for one in chosen], [one["high"] for one in chosen]
            axes.fill_between(ranks, low, high, color=color, alpha=0.1, linewidth=0)
    best = next(choice for choice in choices if choice["is_fastest"])
    axes.annotate(
        f"fastest: {best['minutes']:.3g} min",
        (best["num_ranks"], best["minutes"]),
        xytext=(0, -18),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
    )
    settings = result.settings
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel="ranks", ylabel="minutes to train")
    axes.set_title(f"Time to train {settings['benchmark']} on {settings['accelerator']}")
    every = sorted({choice["num_ranks"] for choice in choices})
    axes.set_xticks(every, [str(rank) for rank in every])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(loc="upper right", ncols=2)
    footnote(figure, f"Predicted from {settings['num_entries']} public entries; shaded: the fastest batch's interval.")
    return figure
