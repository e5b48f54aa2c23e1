# SPDX-License-Identifier: Apache-2.0
"""Figure 1: the time to solution of each entry split into staging, training and evaluation."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compliance.analysis.entry_figures import EntryFigures
from compliance.reports.pictures import style
from compliance.scoring.phases import Phases, mean_phases

BAR_INCHES, MARGIN_INCHES = 0.27, 1.1


def draw(entries: Sequence[EntryFigures]) -> Figure | None:
    """One bar for each entry, grouped by benchmark; None without runs."""
    bars = [(entry, phases) for entry in entries if (phases := mean_phases(run.phases for run in entry.runs))]
    if not bars:
        return None
    benchmarks = list(dict.fromkeys(entry.benchmark for entry, _ in bars))
    height = BAR_INCHES * (len(bars) + len(benchmarks)) + MARGIN_INCHES
    figure, (panel,) = style.new_figure(width=8.5, height=height)
    row, places, labels = 0.0, [], []
    for benchmark in benchmarks:
        panel.text(0, row, style.words(benchmark), weight="bold", va="center")
        row += 1
        for entry, phases in (bar for bar in bars if bar[0].benchmark == benchmark):
            _bar(panel, row, phases)
            places.append(row)
            labels.append(f"{style.name_of(entry)}{' (throughput)' if entry.scaling == 'weak' else ''}")
            row += 1
    panel.set(xlim=(0, 100), ylim=(row - 0.4, -0.7), xlabel="share of the time to solution, %")
    panel.set_yticks(places, labels)
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0, labelsize=8.5)
    figure.legend(loc="outside upper right", ncols=4)
    return figure


def _bar(panel: Axes, row: float, phases: Phases) -> None:
    left = 0.0
    for name, minutes in zip(style.PHASES, phases.parts, strict=True):
        share = 100 * minutes / phases.total_minutes
        is_first = not any(container.get_label() == name for container in panel.containers)
        look: dict[str, Any] = {
            "color": style.PHASES[name],
            "hatch": style.HATCHES[name],
            "edgecolor": style.PAPER,
            "linewidth": 0.3,
        }
        panel.barh(row, share, left=left, height=0.72, label=name if is_first else f"_{name}", **look)
        left += share
