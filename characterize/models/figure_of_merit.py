# SPDX-License-Identifier: Apache-2.0
"""Figures of merit for a procurement: one per benchmark, higher is better, compared with a reference system.

    improvement = compare(reference, proposed)
    improvement.geometric_means["baseline"]           # 2.0: twice the reference system on average

As OLCF-6 and NERSC-10 ask: each benchmark has a baseline (the code as published) and an optimized figure. Every ratio
is to the reference system's baseline, and the average of ratios is their geometric mean. Pure functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import geometric_mean

MINUTES_PER_HOUR = 60
TRAININGS_PER_HOUR = "trainings/h"
VFLOPS = "VFLOPS"
BASELINE, OPTIMIZED = COLUMNS = ("baseline", "optimized")
MEASURED, PROJECTED = KINDS = ("measured", "projected")


@dataclass(frozen=True, kw_only=True)
class FigureOfMerit:
    """One benchmark's figure on one system."""

    value: float
    unit: str
    """trainings/h for a time to train, VFLOPS for HPC AI500."""
    kind: str
    """measured or projected."""
    method: str
    """The way in which the value was obtained."""
    accelerators: int | None = None
    """Accelerators that were used; None if unknown."""
    interval: tuple[float, float] | None = None
    """90 % interval of a prediction."""


Figures = Mapping[str, Mapping[str, FigureOfMerit]]
"""Figures of a system by benchmark and column; every benchmark has a baseline."""


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """A proposed system over the reference system."""

    ratios: dict[str, dict[str, float]]
    """By benchmark and column: the figure over the reference system's baseline. Without an optimized figure, the
    optimized ratio is that of the baseline."""
    geometric_means: dict[str, float]
    """By column."""


def trainings_per_hour(minutes: float, instances: int = 1) -> float:
    """Trained models per hour of `instances` simultaneous trainings that each take so many minutes."""
    return instances * MINUTES_PER_HOUR / minutes


def figure(benchmark: Mapping[str, FigureOfMerit], column: str) -> FigureOfMerit:
    """A column's figure; the baseline if the benchmark has no optimized one."""
    return benchmark.get(column, benchmark[BASELINE])


def compare(reference: Figures, proposed: Figures) -> Improvement:
    """Ratios for the benchmarks of the reference. ValueError for a missing benchmark or another unit."""
    for name, columns in reference.items():
        if name not in proposed:
            raise ValueError(f"{name}: missing, expected a figure for every benchmark of the reference system")
        for own in proposed[name].values():
            if own.unit != columns[BASELINE].unit:
                raise ValueError(f"{name}: found a figure in {own.unit}, expected {columns[BASELINE].unit}")
    ratios = {
        name: {column: figure(proposed[name], column).value / columns[BASELINE].value for column in COLUMNS}
        for name, columns in reference.items()
    }
    means = {column: geometric_mean(ratio[column] for ratio in ratios.values()) for column in COLUMNS}
    return Improvement(ratios=ratios, geometric_means=means)
