# SPDX-License-Identifier: Apache-2.0
"""Parallel efficiency from measured rates, with quartiles. Pure functions.

    points = efficiencies({1: [10.1, 9.9], 2: [18.8, 19.4]})      # points[1].efficiency == 0.955

Weak scaling keeps the local batch size constant, strong scaling the global one. The rate is samples per second of all
ranks together. Efficiency = (rate / rate at the fewest ranks) / (ranks / fewest ranks) (HPC AI500, section 8.4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, kw_only=True)
class Point:
    """Rate and efficiency at one number of ranks."""

    num_ranks: int
    rate: float
    """Samples per second, median over the steps."""
    low: float
    high: float
    """Quartiles of the rate."""
    efficiency: float
    """1 is perfect; more cache per sample can give more than 1."""


def efficiencies(rates: Mapping[int, Sequence[float]]) -> list[Point]:
    """One point per number of ranks, compared with the smallest number of ranks."""
    base_ranks = min(rates)
    base = median(rates[base_ranks])
    return [_point(num_ranks, rates[num_ranks], base_ranks, base) for num_ranks in sorted(rates)]


def _point(num_ranks: int, rates: Sequence[float], base_ranks: int, base: float) -> Point:
    low, middle, high = quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else [rates[0]] * 3
    return Point(
        num_ranks=num_ranks, rate=middle, low=low, high=high, efficiency=middle / base / (num_ranks / base_ranks)
    )
