# SPDX-License-Identifier: Apache-2.0
"""Picture of the roofline: labeled ceilings, and each workload below the ceiling that bounds it.

Left: HPC AI roofline over operations per byte of communication. Right: memory roofline, if memory bandwidth is known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from characterize.models.roofline import Ceiling, System, Workload, attained
from characterize.pictures.style import MARKERS, PAPER, QUIET, TEXT, color_of, count_axis, footnote, new_figure
from characterize.results.tables import quantity

KINDS = {
    "communication": "operations per byte of communication, COI (FLOP/B)",
    "memory": "operations per byte of memory, OI (FLOP/B)",
}
"""Kinds of bandwidth with the label of their axis."""
MARGIN = 4.0
"""Factor of empty space left and right of the data."""
MERGED = 1.3
"""Ceilings within this factor share a label."""


@dataclass(frozen=True, kw_only=True)
class PlacedWorkload:
    """A workload in the picture."""

    workload: Workload
    compute: str | None = None
    """Name of the compute ceiling that bounds it; None: the highest."""
    is_measured_at_size: bool = True
    """True if the rate was measured with the reference's input and batch size; otherwise the mark is hollow."""


def draw(system: System, placed: Sequence[PlacedWorkload], *, note: str) -> Figure:
    """Draw one panel for each kind of bandwidth that the system has and a workload uses."""
    kinds = [kind for kind in KINDS if _slopes(system, kind) and any(_is_finite(workload, kind) for workload in placed)]
    kinds = kinds or list(KINDS)[:1]
    figure, axes = new_figure(1, len(kinds), width=7.6 if len(kinds) == 1 else 12.4, height=5.2, squeeze=False)
    for panel, kind in zip(axes[0], kinds, strict=True):
        _draw_panel(panel, system, placed, kind=kind)
        ranks = f", {system.num_ranks} ranks" if kind == "communication" else ""
        panel.set_title(system.name if len(kinds) == 1 else f"{system.name}: {kind}{ranks}")
        panel.set_xlabel(KINDS[kind])
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(kinds))
    footnote(figure, f"Bar: bound; mark: attained. {note}")
    _turn_slope_labels(figure)
    return figure


def _slopes(system: System, kind: str) -> Sequence[Ceiling]:
    return system.communication if kind == "communication" else system.memory


def _is_finite(placed: PlacedWorkload, kind: str) -> bool:
    return math.isfinite(_intensity(placed.workload, kind))


def _draw_panel(axes: Axes, system: System, placed: Sequence[PlacedWorkload], *, kind: str) -> None:
    slopes = _slopes(system, kind)
    points = [(workload, _intensity(workload.workload, kind)) for workload in placed]
    points = [(workload, at) for workload, at in points if math.isfinite(at)]
    low, high = _range(system, slopes, [at for _, at in points])
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    floor = _draw_ceilings(axes, system, slopes, low, high)
    attained_rates = [rate for workload, _ in points if (rate := workload.workload.attained_flops_per_s)]
    top = max(ceiling.per_s for ceiling in system.compute)
    axes.set_ylim(min([floor, *(rate / 2 for rate in attained_rates)]), top * 3)
    axes.set_ylabel("performance of the system")
    count_axis(axes.yaxis, "FLOP/s")
    count_axis(axes.xaxis)
    for index, (workload, at) in enumerate(points):
        _draw_point(axes, workload, at, system, kind, index)


def _draw_ceilings(axes: Axes, system: System, slopes: Sequence[Ceiling], low: float, high: float) -> float:
    """Draw compute ceilings and bandwidth slopes; return the rate at which the lowest slope enters the panel."""
    top = max(ceiling.per_s for ceiling in system.compute)
    steepest = max((slope.per_s for slope in slopes), default=math.inf)
    for group in _merged(system.compute):
        rate = group[0].per_s
        for ceiling in group:
            start = max(low, ceiling.per_s / steepest)
            axes.plot([start, high], [ceiling.per_s] * 2, color=TEXT, linewidth=1.8 if ceiling.per_s == top else 1.1)
        axes.annotate(
            " / ".join(f"{ceiling.name}  {quantity(ceiling.per_s, 'FLOP/s')}" for ceiling in group),
            xy=(high, rate),
            xytext=(-3, 2.5),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=QUIET,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6},
            zorder=3,
        )
    for slope in slopes:
        stop = min(high, top / slope.per_s)
        start = min(low, stop / 10)
        axes.plot([start, stop], [start * slope.per_s, stop * slope.per_s], color=TEXT, linewidth=1.8)
        _label_slope(axes, slope, max(low, start), stop)
    return min((slope.per_s * low for slope in slopes), default=top / 1e3)


def _label_slope(axes: Axes, slope: Ceiling, start: float, stop: float) -> None:
    middle = start * (stop / start) ** 0.45
    label = f"{slope.name}  {quantity(slope.per_s, 'B/s')}"
    text = axes.text(middle, middle * slope.per_s * 1.15, label, fontsize=8, color=QUIET, ha="center", va="bottom")
    text.set_rotation_mode("anchor")  # _turn_slope_labels finds the label by this mode


def _turn_slope_labels(figure: Figure) -> None:
    """Rotate the labels of slopes along their lines; the angle is known only after layout."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        (x0, y0), (x1, y1) = axes.transData.transform([(1, 1), (10, 10)])
        angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
        for text in axes.texts:
            if text.get_rotation_mode() == "anchor":
                text.set_rotation(angle)


def _draw_point(axes: Axes, placed: PlacedWorkload, at: float, system: System, kind: str, index: int) -> None:
    """Draw the bound as a short bar, the attained rate as a mark, and a thin line between them."""
    workload, color = placed.workload, color_of(placed.workload.name, index)
    bound = _bound(placed, system, kind, at)
    label = workload.name if placed.is_measured_at_size else f"{workload.name} (smaller input or batch)"
    reached = workload.attained_flops_per_s
    axes.plot([at], [bound], marker="_", markersize=13, markeredgewidth=2.2, color=color, linestyle="none")
    if reached is None:
        axes.plot([at], [bound], marker="v", markersize=7, color=color, linestyle="none", label=f"{label}: bound")
        return
    axes.plot([at, at], [reached, bound], color=color, linewidth=1, linestyle=(0, (2, 2)))
    axes.plot(
        [at],
        [reached],
        marker=MARKERS[index % len(MARKERS)],
        markersize=8,
        markeredgewidth=1.6,
        color=color,
        markerfacecolor=color if placed.is_measured_at_size else PAPER,
        linestyle="none",
        label=label,
    )


def _bound(placed: PlacedWorkload, system: System, kind: str, at: float) -> float:
    """Bound by computation and this panel's kind of bandwidth."""
    slopes = _slopes(system, kind)
    named = [ceiling.per_s for ceiling in system.compute if ceiling.name == placed.compute]
    flat = named[0] if named else max(ceiling.per_s for ceiling in system.compute)
    return attained(flat, min((slope.per_s for slope in slopes), default=math.inf), at)


def _intensity(workload: Workload, kind: str) -> float:
    return workload.communication_intensity if kind == "communication" else workload.memory_intensity


def _range(system: System, slopes: Sequence[Ceiling], points: Sequence[float]) -> tuple[float, float]:
    """Limits of the horizontal axis: all ridges and points, with a margin."""
    ridges = [ceiling.per_s / slope.per_s for ceiling in system.compute for slope in slopes]
    shown = [*ridges, *points] or [1.0]
    return min(shown) / MARGIN**1.5, max([*ridges, max(shown) / 3], default=1.0) * 10 * MARGIN**2


def _merged(ceilings: Sequence[Ceiling]) -> list[list[Ceiling]]:
    """Group the ceilings from the top; those within a factor of MERGED share a label."""
    groups: list[list[Ceiling]] = []
    for ceiling in sorted(ceilings, key=lambda ceiling: -ceiling.per_s):
        if groups and groups[-1][0].per_s < ceiling.per_s * MERGED:
            groups[-1].append(ceiling)
        else:
            groups.append([ceiling])
    return groups
