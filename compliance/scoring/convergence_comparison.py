# SPDX-License-Identifier: Apache-2.0
"""Comparison: an entry's epochs to converge beside the reference's. `check` judges by it and `score` scales by it.

comparison = compare(entry, limits)         # None if no reference convergence points apply
comparison.mean_epochs, comparison.scale_factor, comparison.describe()
"""

import math
from dataclasses import dataclass
from functools import cache

from compliance.checks.registry import EntryRules
from compliance.rulesets.ruleset import Benchmark
from compliance.run_log import RunLog
from compliance.scoring.reference_convergence import (
    Point,
    Reference,
    least_acceptable_mean,
    mean_without_extremes,
    point_of,
    reference_at,
    reference_counts,
)
from compliance.scoring.run_metrics import converged, count
from compliance.submissions.reader import Entry

EQUAL = 1e-9  # relative; means of integers that were added in another order are still equal


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mean epochs to converge of an entry and of the reference; for openfold, training samples."""

    unit: str
    """epochs, or training samples."""
    reference: Reference | None
    """None if the entry's logs do not agree on one batch size."""
    mean_epochs: float | None
    """Without the smallest and the largest; None if a log does not count them or several runs did not converge."""
    least_epochs: float | None
    """The least acceptable mean; None without a reference point."""
    uncounted: tuple[RunLog, ...] = ()
    """Converged logs whose last evaluation names no epoch."""

    @property
    def point(self) -> Point | None:
        """The reference point that the entry is compared with."""
        return None if self.reference is None else self.reference.point

    @property
    def is_significantly_faster(self) -> bool:
        """True if the entry needed fewer epochs than chance can explain."""
        return (
            self.mean_epochs is not None
            and self.least_epochs is not None
            and self.mean_epochs < self.least_epochs * (1 - EQUAL)
        )

    @property
    def scale_factor(self) -> float:
        """Reference mean / own mean if the entry was faster by no more than chance can explain, otherwise 1."""
        if self.mean_epochs is None or self.point is None or self.is_significantly_faster:
            return 1.0
        return max(1.0, self.point.mean / self.mean_epochs)

    def describe(self) -> str:
        """Both means, and the reference point that was used."""
        if self.reference is None:
            return "none: the batch sizes of the runs differ"
        own = "not comparable" if self.mean_epochs is None else f"{self.mean_epochs:.6g} {self.unit}"
        if self.reference.point is None:
            return f"{own}; {self.reference.describe()}"
        point = f"{self.reference.point.mean:.6g}, at least {self.least_epochs:.6g}"
        return f"{own} against {point}; {self.reference.describe()}"


def compare(entry: Entry, limits: EntryRules) -> Comparison | None:
    """None in the Open division, for a single log, and if the rule set has no points for the benchmark."""
    benchmark = limits.benchmark
    points = _points(limits.ruleset.values.get("reference_convergence", ""), benchmark.name)
    if not points or limits.division != "closed" or entry.is_single_log or not entry.runs:
        return None
    counts = [epochs_to_converge(log, benchmark) for log in entry.runs]
    uncounted = tuple(log for log, count in zip(entry.runs, counts, strict=True) if count is None)
    reference = _reference(entry, points, benchmark.num_runs)
    point = reference.point if reference else None
    return Comparison(
        unit=benchmark.convergence_unit,
        reference=reference,
        mean_epochs=None if uncounted else mean_without_extremes([count for count in counts if count is not None]),
        least_epochs=least_acceptable_mean(point, benchmark.num_runs) if point else None,
        uncounted=uncounted,
    )


def epochs_to_converge(log: RunLog, benchmark: Benchmark) -> float | None:
    """epoch_num of the last evaluation before run_stop; infinity without convergence, None if it names no epoch.

    In OpenFold's logs epoch_num counts training samples, the unit of its reference points. train_samples is the size
    of the data set there too, although it is logged on the clock.
    """
    if not converged(log, benchmark):
        return math.inf
    last = log.until_stop(benchmark.quality_key)[-1]
    epoch = last.metadata.epoch_num if last.metadata is not None else None
    if isinstance(epoch, bool) or not isinstance(epoch, int | float) or not 0 < epoch < 1e15:
        return None
    return float(epoch)


def _reference(entry: Entry, points: tuple[Point, ...], num_runs: int) -> Reference | None:
    batches = {count(log, "global_batch_size") for log in entry.runs}
    batch = batches.pop()
    return None if batches or batch is None else reference_at(batch, points, num_runs)


@cache
def _points(name: str, benchmark: str) -> tuple[Point, ...]:
    """The benchmark's reference points under a heading of rules/reference_convergence.toml; empty without any."""
    return tuple(point_of(batch, counts) for batch, counts in reference_counts(name).get(benchmark, {}).items())
