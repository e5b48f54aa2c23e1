# SPDX-License-Identifier: Apache-2.0
"""Shared style of all pictures, and writing them as PNG and SVG; readable in print and in gray.

figure, axes = new_figure()
write({"roofline": figure}, folder)
"""

import io
import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from characterize.results.tables import PREFIXES, quantity, size
from compliance.files import atomic_write

TEXT, QUIET, GRID, PAPER = "#1b1f24", "#59616b", "#e3e6ea", "#ffffff"
BENCHMARK_COLORS = {
    "CosmoFlow": "#2069a8",
    "DeepCAM": "#0b7a5c",
    "ImageNet ResNet-50": "#b01657",
    "EWA Faster R-CNN": "#c26a00",
}
COLORS = ("#2069a8", "#c26a00", "#0b7a5c", "#b01657", "#6a55b0", "#59616b", "#8a6d00", "#008299")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SETTINGS = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": TEXT,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": TEXT,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "characterize",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}
matplotlib.rcParams.update(SETTINGS)


def new_figure(num_rows: int = 1, num_columns: int = 1, *, width: float = 7.2, height: float = 4.4, **subplots):
    """Return (Figure, Axes or array of Axes) with constrained layout and a grid."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, **subplots)
    for panel in [axes] if isinstance(axes, Axes) else list(axes.flat):
        panel.grid(color=GRID, linewidth=0.7)
    return figure, axes


def color_of(name: str, index: int = 0) -> str:
    """Fixed color of a benchmark; other names get colors by their index."""
    return next(
        (color for title, color in BENCHMARK_COLORS.items() if name.startswith(title)), COLORS[index % len(COLORS)]
    )


def footnote(figure: Figure, text: str) -> None:
    """Write the source of the data below the picture, because pictures are copied without their page."""
    figure.supxlabel(text, fontsize=7.5, color=QUIET, x=0.01, ha="left")


def count_axis(axis, unit: str = "") -> None:
    """Label ticks as 1 k, 10 k, 1 M."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value, unit)))


def plain_log_axis(axis) -> None:
    """Label a logarithmic axis at 1, 2 and 5 times the powers of ten."""
    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def size_axis(axis) -> None:
    """Label ticks as 1 KiB, 1 MiB."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: size(value).replace(" ", "\u202f")))


def write(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write name.png and name.svg of each figure; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        for ending in ("png", "svg"):
            path = folder / f"{name}.{ending}"
            atomic_write.write(path, as_bytes(figure, ending))
            paths.append(path)
    return paths


def as_bytes(figure: Figure, ending: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending, dpi=160, metadata={"Date": None} if ending == "svg" else None)
    return buffer.getvalue()


def _short(value: float, unit: str) -> str:
    if value <= 0 or not math.isfinite(value):
        return f"{value:g}"
    for factor, prefix in PREFIXES:
        if value >= factor:
            return f"{value / factor:g}\u202f{prefix}{unit}".rstrip()
    return quantity(value, unit)
