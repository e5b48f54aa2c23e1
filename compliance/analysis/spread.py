# SPDX-License-Identifier: Apache-2.0
"""Spread: the mean of a quantity over runs, with its sample standard deviation."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation over `count` runs."""

    mean: float
    deviation: float
    """Sample standard deviation, in the unit of the mean; 0 for a single run."""
    count: int

    @property
    def relative(self) -> float | None:
        """Standard deviation / mean."""
        return self.deviation / self.mean if self.mean else None

    def scaled(self, factor: float) -> "Spread":
        """The same quantity in another unit."""
        return Spread(mean=self.mean * factor, deviation=self.deviation * abs(factor), count=self.count)


def spread_of(values: Iterable[float | None]) -> Spread | None:
    """The spread of all values; None if there is none, or if one is missing."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    if not numbers or len(numbers) < len(known):
        return None
    return Spread(mean=fmean(numbers), deviation=stdev(numbers) if len(numbers) > 1 else 0.0, count=len(numbers))


def mean_of(spread: Spread | None) -> float | None:
    """The mean; None without a spread."""
    return None if spread is None else spread.mean
