# SPDX-License-Identifier: Apache-2.0
"""The look of the figures, readable in print and in gray, and their text as SVG or PNG.

figure, axes = new_figure(2, 2)
svg(figure), png(figure)
"""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from compliance.analysis.entry_figures import EntryFigures
from compliance.reports.tables import printable

TEXT, QUIET, GRID, PAPER = "#1b1f24", "#59616b", "#e3e6ea", "#ffffff"
COLORS = ("#2069a8", "#c26a00", "#0b7a5c", "#b01657", "#6a55b0", "#59616b", "#8a6d00", "#008299")
PHASES = {"staging": "#0b7a5c", "training": "#2069a8", "evaluation": "#d0761b", "other": "#b6bcc4"}
HATCHES = {"staging": "////", "training": "", "evaluation": "\\\\\\\\", "other": ""}
MARKER_PIXELS = 5  # half the width of a marker
LABEL_PIXELS = (17, 13)  # width and height of a number, with its margin
SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": TEXT,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": TEXT,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.color": PAPER,
    "hatch.linewidth": 0.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "compliance",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}
matplotlib.rcParams.update(SETTINGS)


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 8.0, height: float = 4.5
) -> tuple[Figure, list[Axes]]:
    """A figure with its panels, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = [figure.add_subplot(rows, columns, number + 1) for number in range(rows * columns)]
    for panel in panels:
        panel.grid(color=GRID, linewidth=0.7)
    return figure, panels


def svg(figure: Figure) -> bytes:
    return _drawn(figure, format="svg", metadata={"Date": None})


def png(figure: Figure) -> bytes:
    return _drawn(figure, format="png", dpi=160)


def _drawn(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of scripts that the font does not have
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def log_axes(panel: Axes, *, x: int, y: int) -> None:
    """Logarithmic axes with the bases x and y."""
    panel.set_xscale("log", base=x)
    panel.set_yscale("log", base=y)
    plain_ticks(panel.xaxis, x)
    plain_ticks(panel.yaxis, y)


def plain_ticks(axis: Axis, base: int) -> None:
    """Plain numbers at the powers of two, or at 1, 2 and 5 times the powers of ten."""
    axis.set_major_locator(LogLocator(base=base, subs=(1.0,) if base == 2 else (1.0, 2.0, 5.0), numticks=10))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 100 else f"{value:g}"))


def colors_of(entries: Sequence[EntryFigures]) -> dict[str, str]:
    """A color for each accelerator (or processor)."""
    devices = sorted({entry.hardware.device or "not described" for entry in entries})
    return {device: COLORS[index % len(COLORS)] for index, device in enumerate(devices)}


def color_of(entry: EntryFigures, colors: dict[str, str]) -> str:
    return colors[entry.hardware.device or "not described"]


def numbered_points(
    panel: Axes,
    places: Sequence[tuple[float, float]],
    looks: Sequence[tuple[int, str, str]],
    *,
    prefer: tuple[int, int] = (0, 1),
) -> None:
    """Markers with the numbers that the legend explains; each look is (number, color, marker).

    Numbers are moved apart, with lines to their markers. They start from the preferred side: columns to the right, rows
    up. The figure must have been drawn, and the limits of the axes set.
    """
    pixels = [(float(x), float(y)) for x, y in map(panel.transData.transform, places)]
    outline = [withStroke(linewidth=2, foreground=PAPER)]
    labels = zip(places, pixels, _apart(pixels, prefer), looks, strict=True)
    for place, pixel, label, (number, color, mark) in labels:
        panel.plot(*place, mark, color=color, markersize=6, mec=PAPER, mew=0.6, zorder=4)
        offset = (label[0] - pixel[0]) * 72 / panel.figure.dpi, (label[1] - pixel[1]) * 72 / panel.figure.dpi
        text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": color, "weight": "bold"}
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.5, "shrinkA": 3, "shrinkB": 2}
        text |= {"textcoords": "offset points", "arrowprops": line, "path_effects": outline, "zorder": 5}
        panel.annotate(str(number), place, offset, **text)


def _apart(pixels: Sequence[tuple[float, float]], prefer: tuple[int, int]) -> list[tuple[float, float]]:
    """A place for each number: on the preferred side of its marker, or the nearest free place to that."""
    width, height = LABEL_PIXELS
    taken = list(pixels)
    places = []
    for x, y in pixels:
        start = prefer[0] * width, prefer[1] * height
        offsets = ((column * width, row * height) for column in range(-9, 10) for row in range(-4, 5))
        near = sorted(offsets, key=lambda offset: math.hypot(offset[0] - start[0], offset[1] - start[1]))
        place = next((x + dx, y + dy) for dx, dy in near if _is_free(x + dx, y + dy, taken))
        taken.append(place)
        places.append(place)
    return places


def _is_free(x: float, y: float, taken: Sequence[tuple[float, float]]) -> bool:
    width, height = LABEL_PIXELS
    return all(abs(x - other_x) >= 0.95 * width or abs(y - other_y) >= 0.95 * height for other_x, other_y in taken)


def level_line(
    panel: Axes, ends: Sequence[tuple[float, float]], label: str, places: Sequence[tuple[float, float]]
) -> None:
    """A thin line on which a quantity is constant, with a label along it at the first place that covers nothing.

    Points and numbers must have been drawn. Without a free place there is no label.
    """
    taken = _taken(panel)
    panel.plot(*zip(*ends, strict=True), color=QUIET, linewidth=0.5, alpha=0.45, zorder=1)
    (x_low, y_low), (x_high, y_high) = panel.transData.transform(ends)
    angle = math.degrees(math.atan2(y_high - y_low, x_high - x_low))
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 6.5, "color": QUIET}
    for place in places:
        text = panel.annotate(label, place, rotation=angle, rotation_mode="anchor", zorder=2, **style)
        if not any(text.get_window_extent().overlaps(box) for box in taken):
            return
        text.remove()


def _taken(panel: Axes) -> list[Bbox]:
    """Pixels of a panel's texts, markers and legend."""
    marked = [line for line in panel.get_lines() if line.get_marker() not in ("", "None", None)]
    points = [point for line in marked for point in panel.transData.transform(line.get_xydata())]
    boxes = [Bbox.from_bounds(x, y, 0, 0).padded(MARKER_PIXELS) for x, y in points]
    labels = [*panel.texts, *filter(None, [panel.get_legend()])]
    return boxes + [label.get_window_extent() for label in labels]


def words(text: str) -> str:
    """Text from logs and folder names, without escape codes and without meaning for matplotlib's formulas."""
    return printable(text).replace("$", r"\$")


def name_of(entry: EntryFigures) -> str:
    """organization/system"""
    return words(f"{entry.org}/{entry.system}")


def mark_of(entry: EntryFigures) -> str:
    """Round for closed divisions, square for open ones."""
    return "s" if entry.division in ("open", "free") else "o"


def legend_of(figure: Figure, entries: Sequence[EntryFigures], colors: dict[str, str], numbers: Sequence[int]) -> None:
    """The numbered entries below the panels, with the colors of their devices."""
    handles = [Line2D([], [], marker=mark_of(entry), linestyle="", color=color_of(entry, colors)) for entry in entries]
    labels = [f"{number}  {name_of(entry)}" for number, entry in zip(numbers, entries, strict=True)]
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if len(entries) > 4 else 1, handletextpad=0.2)
