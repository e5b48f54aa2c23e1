# SPDX-License-Identifier: Apache-2.0
"""Parallel efficiency from measured rates, with spread; pure.

    points = efficiencies({1: [10.1, 9.9], 2: [18.8, 19.4]})      # points[1].efficiency == 0.955

Weak scaling keeps the local batch, strong the global one; in both the rate is samples per second of all ranks together,
and the efficiency is the rate over that of the fewest ranks times the ranks' ratio (HPC AI500, section 8.4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, kw_only=True)
class Point:
    """One number of ranks."""

    num_ranks: int
    rate: float
    """Samples per second, median over the steps."""
    low: float
    high: float
    """Quartiles."""
    efficiency: float
    """1 is perfect; above 1 where more ranks bring more cache."""


def efficiencies(rates: Mapping[int, Sequence[float]]) -> list[Point]:
    """By number of ranks; the smallest is what the others are compared with."""
    base_ranks = min(rates)
    base = median(rates[base_ranks])
    return [_point(num_ranks, rates[num_ranks], base_ranks, base) for num_ranks in sorted(rates)]


def _point(num_ranks: int, rates: Sequence[float], base_ranks: int, base: float) -> Point:
    low, middle, high = quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else [rates[0]] * 3
    return Point(
        num_ranks=num_ranks, rate=middle, low=low, high=high, efficiency=middle / base / (num_ranks / base_ranks)
    )
