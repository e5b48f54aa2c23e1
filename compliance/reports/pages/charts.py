# SPDX-License-Identifier: Apache-2.0
"""Chart: a small picture with axes, in the units of its SVG view box; charts.html draws it.

The pictures are plain SVG, so that they print, scale and show without JavaScript.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44
MARKER = 9.0  # width of a marker


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together."""

    name: str
    """Shown when pointed at."""
    kind: str
    """CSS class: colour, dashes and marker."""
    points: Sequence[tuple[float, float]]
    """In the units of the axes."""
    href: str = ""
    """Anchor that the series leads to."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series in the units of the view box."""

    name: str
    kind: str
    path: str
    """Value of an SVG polyline's `points`."""
    ends: Sequence[tuple[float, float]]
    """Places of the markers: every point of sparse series, the last one of others."""
    href: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything that charts.html needs."""

    label: str
    """Description for readers who cannot see the picture."""
    x_label: str
    y_label: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[Line]
    target_at: float | None
    """Height of the target line."""
    target_label: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM

    @property
    def is_linked(self) -> bool:
        """True if it has links, which the role of a plain image would hide."""
        return any(line.href for line in self.lines)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values to positions."""

    low: float
    high: float
    start: float
    stop: float
    is_log2: bool = False

    def at(self, value: float) -> float:
        if self.is_log2:
            share = math.log2(value / self.low) / math.log2(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        # Values outside the axis stay near its end: SVG coordinates of 1e300 break renderers.
        return round(self.start + min(max(share, -0.1), 1.1) * (self.stop - self.start), 1)

    def ticks(self) -> list[Tick]:
        values = _powers_of_two(self.low, self.high) if self.is_log2 else _round_values(self.low, self.high)
        return [Tick(at=self.at(value), label=label) for value, label in zip(values, _labels(values), strict=True)]


def curves_chart(series: Sequence[Series], *, label: str, x_label: str, y_label: str, target: float) -> Chart:
    """Quality from zero epochs or minutes on, with the target as a line."""
    values = [value for one in series for _, value in one.points]
    low, high = _focus(values, target)
    x_axis = Axis(low=0, high=_x_high(series), start=LEFT, stop=WIDTH - RIGHT)
    y_axis = Axis(low=low, high=high, start=HEIGHT - BOTTOM, stop=TOP)
    lines = [_line(one, x_axis, y_axis, sparse=False) for one in series]
    return Chart(
        label=label,
        x_label=x_label,
        y_label=y_label,
        x_ticks=x_axis.ticks(),
        y_ticks=y_axis.ticks(),
        lines=lines,
        target_at=y_axis.at(target),
        target_label=f"{target:g}",
    )


def convergence_chart(series: Sequence[Series], *, label: str, y_label: str) -> Chart:
    """Epochs against batch size, which grows by doubling. Points at one batch size are drawn side by side."""
    points = [point for one in series for point in one.points]
    batches = [batch for batch, _ in points]
    # The margins make room for a power of two, and so for a tick, around a single batch size too.
    x_axis = Axis(low=min(batches) / 1.5, high=max(batches) * 1.5, start=LEFT, stop=WIDTH - RIGHT, is_log2=True)
    y_axis = Axis(low=0, high=1.1 * max(epochs for _, epochs in points), start=HEIGHT - BOTTOM, stop=TOP)
    lines = [_line(one, x_axis, y_axis, sparse=True) for one in series]
    return Chart(
        label=label,
        x_label="global batch size",
        y_label=y_label,
        x_ticks=x_axis.ticks(),
        y_ticks=y_axis.ticks(),
        lines=_side_by_side(lines),
        target_at=None,
        target_label="",
    )


def _line(series: Series, x_axis: Axis, y_axis: Axis, *, sparse: bool) -> Line:
    places = [(x_axis.at(x), y_axis.at(y)) for x, y in series.points]
    path = " ".join(f"{x:g},{y:g}" for x, y in places)
    ends = places if sparse else places[-1:]
    return Line(name=series.name, kind=series.kind, path=path, ends=ends, href=series.href)


def _side_by_side(lines: Sequence[Line]) -> list[Line]:
    """The lines with single markers moved to the right by as many others as they would touch."""
    taken: list[tuple[float, float]] = []
    moved = []
    for line in lines:
        if len(line.ends) == 1:
            (x, y) = line.ends[0]
            while any(abs(x - other_x) < MARKER and abs(y - other_y) < MARKER for other_x, other_y in taken):
                x += MARKER
            taken.append((x, y))
            line = replace(line, path=f"{x:g},{y:g}", ends=[(x, y)])
        moved.append(line)
    return moved


def _x_high(series: Iterable[Series]) -> float:
    high = max((x for one in series for x, _ in one.points), default=0.0)
    return high if high > 0 else 1.0


def _focus(values: Sequence[float], target: float) -> tuple[float, float]:
    """The range of all values and the target, without values so far away that they would flatten all others."""
    distances = sorted(abs(value - target) for value in values)
    reach = 20 * distances[len(distances) // 2] if distances else 0.0
    low = min((value for value in values if value >= target - reach), default=target)
    high = max((value for value in values if value <= target + reach), default=target)
    low, high = min(low, target), max(high, target)
    margin = 0.05 * (high - low) or 0.05 * abs(target) or 1.0
    return low - margin, high + margin


def _round_values(low: float, high: float, about: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _labels(values: Sequence[float]) -> list[str]:
    """Labels with the same number of decimals, as many as one of them needs."""
    if any(abs(value) >= 1e6 or 0 < abs(value) < 1e-5 for value in values):
        return [f"{value:.3g}" for value in values]
    num_decimals = max((len(f"{value:.6g}".partition(".")[2]) for value in values), default=0)
    return [f"{value:.{num_decimals}f}" for value in values]


def _powers_of_two(low: float, high: float, most: int = 8) -> list[float]:
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    stride = 1 + (last - first) // most
    return [2.0**exponent for exponent in range(first, last + 1, stride)]
