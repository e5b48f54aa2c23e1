# SPDX-License-Identifier: Apache-2.0
"""Figure 2: batch size, epochs, throughput and compute time of one benchmark, joined on shared axes.

a) batch size against units            b) epochs against batch size
c) epoch throughput against units      d) compute time = epochs / epoch throughput
Rows share the y axis, columns the x axis. Level lines: batch per unit in a, training steps to the target in b, samples
per second and unit in c, compute minutes in d.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from compliance.analysis.entry_figures import EntryFigures
from compliance.analysis.spread import mean_of
from compliance.reports.pictures import style

SECONDS_PER_MINUTE = 60
NUM_STEPS = 60  # places along a level line that are tried for its label


@dataclass(frozen=True, kw_only=True)
class Point:
    """One entry in the four panels."""

    entry: EntryFigures
    number: int
    units: float
    batch: float
    epochs: float
    throughput: float
    """Epochs per minute of training and evaluation."""
    training: float | None
    """Training throughput in the same unit: as if all samples of an epoch were trained on."""
    evaluation: float | None
    run_epochs: Sequence[float]
    run_throughputs: Sequence[float]


def draw(entries: Sequence[EntryFigures]) -> Figure | None:
    """The four panels; None if fewer than two entries have all figures."""
    points = [point for number, entry in enumerate(entries, start=1) if (point := _point(entry, number))]
    if len(points) < 2:
        return None
    rows_of_legend = math.ceil(len(points) / 2)
    figure, panels = style.new_figure(2, 2, width=10.5, height=9.0 + 0.22 * rows_of_legend)
    colors = style.colors_of([point.entry for point in points])
    _set_axes(panels, points)
    style.legend_of(figure, [point.entry for point in points], colors, [point.number for point in points])
    figure.draw_without_rendering()  # the places of the panels are needed to move points apart
    _draw_parameters(panels[0], points, colors)
    _draw_epochs(panels[1], points, colors)
    _draw_throughput(panels[2], points, colors)
    _draw_compute_time(panels[3], points, colors)
    return figure


def _point(entry: EntryFigures, number: int) -> Point | None:
    if not (entry.units and entry.batch_size and entry.epochs and entry.epoch_minutes and entry.epoch_minutes.mean):
        return None
    return Point(
        entry=entry,
        number=number,
        units=entry.units,
        batch=entry.batch_size,
        epochs=entry.epochs.mean,
        throughput=1 / entry.epoch_minutes.mean,
        training=_epochs_per_minute(entry, mean_of(entry.training_rate_per_unit)),
        evaluation=_epochs_per_minute(entry, mean_of(entry.evaluation_rate_per_unit)),
        run_epochs=[run.num_epochs for run in entry.runs],
        run_throughputs=[1 / run.epoch_minutes for run in entry.runs if run.epoch_minutes],
    )


def _epochs_per_minute(entry: EntryFigures, rate_per_unit: float | None) -> float | None:
    if not rate_per_unit or not entry.units or not entry.samples_per_epoch:
        return None
    return rate_per_unit * entry.units * SECONDS_PER_MINUTE / entry.samples_per_epoch


def _set_axes(panels: Sequence[Axes], points: Sequence[Point]) -> None:
    units = _range([point.units for point in points] + [point.batch for point in points])
    batches = _range([point.batch for point in points])
    epochs = _range([epochs for point in points for epochs in (point.epochs, *point.run_epochs)])
    rates = [rate for point in points for rate in (point.throughput, point.training, point.evaluation) if rate]
    ranges = ((units, batches), (epochs, batches), (units, _range(rates)), (epochs, _range(rates)))
    for panel, (x_range, y_range) in zip(panels, ranges, strict=True):
        panel.set(xlim=x_range, ylim=y_range)
    for number, panel in enumerate(panels):
        style.log_axes(panel, x=10 if number % 2 else 2, y=2 if number < 2 else 10)
    panels[0].set(title="a) parameters", ylabel="global batch size")
    panels[1].set(title="b) epochs to the target")
    panels[2].set(
        title="c) throughput", xlabel="accelerators or processors; batch size (◇)", ylabel="epochs per minute"
    )
    panels[3].set(title="d) compute time", xlabel="epochs to the target")


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values) / 1.4, max(values) * 1.4


def _draw_parameters(panel: Axes, points: Sequence[Point], colors: dict[str, str]) -> None:
    ratios = [math.log2(point.batch / point.units) for point in points]
    levels = [2.0**power for power in range(math.floor(min(ratios)) - 1, math.ceil(max(ratios)) + 2)]
    _draw_points(panel, points, [(point.units, point.batch) for point in points], colors)
    _level_lines(panel, levels, lambda x, ratio: x * ratio, lambda ratio: f"{ratio:g} per unit")


def _draw_epochs(panel: Axes, points: Sequence[Point], colors: dict[str, str]) -> None:
    for point in points:
        color = style.color_of(point.entry, colors)
        panel.plot(point.run_epochs, [point.batch] * len(point.run_epochs), ".", color=color, alpha=0.35, markersize=5)
    _draw_points(panel, points, [(point.epochs, point.batch) for point in points], colors)
    samples = points[0].entry.train_samples
    if samples:
        steps = _round_levels([point.epochs * samples / point.batch for point in points])
        _level_lines(panel, steps, lambda x, step: x * samples / step, lambda step: f"{step:,.0f} steps")


def _draw_throughput(panel: Axes, points: Sequence[Point], colors: dict[str, str]) -> None:
    for point in points:
        color = style.color_of(point.entry, colors)
        look: dict[str, Any] = {"color": color, "linestyle": "", "markersize": 6, "zorder": 3}
        if point.training and point.evaluation:
            panel.plot([point.units] * 2, [point.training, point.evaluation], color=color, linewidth=0.8, zorder=2)
            panel.plot([point.units], [point.training], marker="^", **look)
            panel.plot([point.units], [point.evaluation], marker="x", **look)
        if point.batch != point.units:
            panel.plot([point.units, point.batch], [point.throughput] * 2, "--", color=color, linewidth=0.8, zorder=2)
            panel.plot([point.batch], [point.throughput], marker="D", mfc="none", **look)
    _draw_points(panel, points, [(point.units, point.throughput) for point in points], colors, prefer=(1, 0))
    kinds = (("^", "training"), ("x", "evaluation"), ("o", "both together"), ("D", "at its batch size"))
    handles = [
        Line2D([], [], marker=mark, linestyle="", color=style.QUIET, mfc="none" if mark == "D" else None)
        for mark, _ in kinds
    ]
    panel.legend(handles, [words for _, words in kinds], loc="upper left", fontsize=7.5)
    samples = points[0].entry.samples_per_epoch
    if samples:
        factor = SECONDS_PER_MINUTE / samples
        levels = _round_levels([point.throughput / factor / point.units for point in points])
        _level_lines(panel, levels, lambda x, level: x * level * factor, lambda level: f"{level:g}/s per unit")


def _draw_compute_time(panel: Axes, points: Sequence[Point], colors: dict[str, str]) -> None:
    for point in points:
        color = style.color_of(point.entry, colors)
        panel.plot(point.run_epochs, point.run_throughputs, ".", color=color, alpha=0.35, markersize=5)
    _draw_points(panel, points, [(point.epochs, point.throughput) for point in points], colors)
    minutes = _round_levels([point.epochs / point.throughput for point in points])
    _level_lines(panel, minutes, lambda x, level: x / level, lambda level: f"{level:g} min")


def _draw_points(
    panel: Axes,
    points: Sequence[Point],
    places: Sequence[tuple[float, float]],
    colors: dict[str, str],
    prefer: tuple[int, int] = (0, 1),
) -> None:
    looks = [(point.number, style.color_of(point.entry, colors), style.mark_of(point.entry)) for point in points]
    style.numbered_points(panel, places, looks, prefer=prefer)


def _level_lines(
    panel: Axes, levels: Sequence[float], value: Callable[[float, float], float], label: Callable[[float], str]
) -> None:
    """Straight lines on logarithmic axes, each with a label near its upper end, where it covers no point or number."""
    (x_low, x_high), (y_low, y_high) = panel.get_xlim(), panel.get_ylim()
    for level in levels:
        ends = [(x, value(x, level)) for x in (x_low, x_high)]
        inside = [x for x in _steps(x_low, x_high) if y_low < value(x, level) < y_high]
        tried = inside[-2 : -len(inside) : -2] if len(inside) > NUM_STEPS // 5 else []
        style.level_line(panel, ends, label(level), [(x, value(x, level)) for x in tried])


def _steps(low: float, high: float) -> list[float]:
    return [low * (high / low) ** (number / NUM_STEPS) for number in range(1, NUM_STEPS)]


def _round_levels(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times powers of ten, around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [factor * 10.0**power for power in range(low, high + 1) for factor in (1, 2, 5)]
