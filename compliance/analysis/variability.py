# SPDX-License-Identifier: Apache-2.0
"""Variability: why the runs of one entry take different times.

Compute time is epochs x time per epoch, so that the logarithms add up: ln T = ln E + ln t. The variance of ln T is
cov(ln E, ln T) + cov(ln t, ln T), and each term divided by the variance is the share of one cause. A share can be
negative, or above 1, if the two work against each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import covariance, variance

from compliance.analysis.entry_figures import EntryFigures

LEAST_RUNS = 3
EQUAL = 1e-18  # variance of logarithms below which runs take the same time


@dataclass(frozen=True, kw_only=True)
class Variability:
    """Run-to-run variation of the compute time of one entry."""

    relative_deviation: float
    """Sample standard deviation / mean of the compute time."""
    epochs_share: float
    """Share of the variance of ln(compute time) that the number of epochs explains."""
    throughput_share: float
    """Share that the time per epoch explains; both shares add up to 1."""


def variability(entry: EntryFigures) -> Variability | None:
    """None for fewer than three runs, or for runs of equal time."""
    runs = [run for run in entry.runs if run.num_epochs and run.compute_minutes > 0]
    if len(runs) < LEAST_RUNS:
        return None
    times = [math.log(run.compute_minutes) for run in runs]
    epochs = [math.log(run.num_epochs) for run in runs]
    total = variance(times)
    if total <= EQUAL:
        return None
    share = covariance(epochs, times) / total
    minutes = [run.compute_minutes for run in runs]
    return Variability(relative_deviation=_relative_deviation(minutes), epochs_share=share, throughput_share=1 - share)


def _relative_deviation(values: Sequence[float]) -> float:
    return math.sqrt(variance(values)) / (math.fsum(values) / len(values))
