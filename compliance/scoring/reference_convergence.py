# SPDX-License-Identifier: Apache-2.0
"""Reference convergence: did an entry need significantly fewer epochs than the reference at its batch size?

    counts = reference_counts("mlperf_hpc_3.0")["deepcam"]      # {128.0: [7, 7, ...], 256.0: [9, 9, ...], ...}
    points = [point_of(batch, epochs) for batch, epochs in counts.items()]
    reference = reference_at(384, points, num_runs=5)           # interpolated between 256 and 512
    least_acceptable_mean(reference.point, num_runs=5)          # a smaller mean is significantly faster, and refused

MLPerf HPC rules, "Reference convergence points": one-sided two-sample t test with pooled variance at p = 0.05. The
counts are epochs, for OpenFold training samples. convergence_comparison.py applies this to logs.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from compliance.rulesets.ruleset import FOLDER

SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Point:
    """Epochs that the reference needs at one global batch size."""

    global_batch_size: float
    mean: float
    """Mean without the smallest and the largest count."""
    deviation: float
    """Population standard deviation of all counts."""
    num_counts: int
    """Number of counts in the mean; for an interpolated point twice the runs of an entry."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference at an entry's batch size."""

    batch: float
    point: Point | None
    """None if the reference has to be run at this batch size."""
    kind: str
    """measured, interpolated, smallest (the batch is below every point) or missing (above every point)."""
    neighbors: tuple[float, ...] = ()
    """Batch sizes of the points that were used."""
    pruned: tuple[float, ...] = ()
    """Batch sizes of the points that pruning removed."""

    def describe(self) -> str:
        """The point that was used, and the reason."""
        near = " and ".join(f"{batch:g}" for batch in self.neighbors)
        why = {
            "measured": f"measured at batch {self.batch:g}",
            "interpolated": f"interpolated at batch {self.batch:g} between {near}",
            "smallest": f"batch {self.batch:g} is below every point; the smallest, {near}, is used",
            "missing": f"batch {self.batch:g} is above every point (largest {near}): the reference must be run",
        }[self.kind]
        pruned = ", ".join(f"{batch:g}" for batch in self.pruned)
        return f"{why}; reference batches ignored (slower than interpolation): {pruned}" if pruned else why


@cache
def reference_counts(name: str) -> Mapping[str, Mapping[float, Sequence[float]]]:
    """Counts of the reference's runs by benchmark and batch size; the only reader of rules/reference_convergence.toml.

    `name` is a heading of that file, as a rule set's `reference_convergence` gives it; an unknown name has no counts.
    """
    tables = tomllib.loads((FOLDER / "reference_convergence.toml").read_text(encoding="utf-8")).get(name, {})
    return {
        benchmark: {float(batch): counts for batch, counts in points.items()} for benchmark, points in tables.items()
    }


def point_of(batch: float, counts: Sequence[float]) -> Point:
    """The point of the reference's runs at one batch size, of which there must be at least three."""
    mean = mean_without_extremes(counts)
    assert mean is not None, f"{len(counts)} reference runs at batch {batch:g}"
    mean_of_all = math.fsum(counts) / len(counts)
    variance = math.fsum((count - mean_of_all) ** 2 for count in counts) / len(counts)
    return Point(global_batch_size=batch, mean=mean, deviation=math.sqrt(variance), num_counts=len(counts) - 2)


def mean_without_extremes(values: Sequence[float]) -> float | None:
    """Mean without the smallest and the largest value; None below three values or if an infinite one remains."""
    kept = sorted(values)[1:-1]
    mean = math.fsum(kept) / len(kept) if kept else math.inf
    return mean if math.isfinite(mean) else None


def interpolate(batch: float, low: Point, high: Point, num_runs: int) -> Point:
    """The point between two others; mean and deviation are linear in the batch size."""
    share = (batch - low.global_batch_size) / (high.global_batch_size - low.global_batch_size)
    return Point(
        global_batch_size=batch,
        mean=low.mean + share * (high.mean - low.mean),
        deviation=low.deviation + share * (high.deviation - low.deviation),
        num_counts=2 * num_runs,
    )


def prune(points: Sequence[Point], num_runs: int) -> list[Point]:
    """Remove points with a batch size below that of the fastest point, and points above the line of their neighbors."""
    ordered = sorted(points, key=lambda point: point.global_batch_size)
    fastest = min(ordered, key=lambda point: point.mean)
    kept = [point for point in ordered if point.global_batch_size >= fastest.global_batch_size]
    # One pass, as in the published rounds: a removal changes the test of the next point, not of the previous ones.
    index = 1
    while index < len(kept) - 1:
        low, point, high = kept[index - 1 : index + 2]
        if point.mean > interpolate(point.global_batch_size, low, high, num_runs).mean:
            del kept[index]
        else:
            index += 1
    return kept


def reference_at(batch: float, points: Sequence[Point], num_runs: int) -> Reference:
    """The reference at a batch size, after pruning; num_runs is the number of runs that the rules require."""
    kept = prune(points, num_runs)
    pruned = tuple(sorted({point.global_batch_size for point in points} - {point.global_batch_size for point in kept}))
    smallest, largest = kept[0], kept[-1]
    for point in kept:
        if point.global_batch_size == batch:
            return Reference(batch=batch, point=point, kind="measured", neighbors=(batch,), pruned=pruned)
    if batch < smallest.global_batch_size:
        nearest = (smallest.global_batch_size,)
        return Reference(batch=batch, point=smallest, kind="smallest", neighbors=nearest, pruned=pruned)
    for low, high in pairwise(kept):
        if low.global_batch_size < batch < high.global_batch_size:
            point = interpolate(batch, low, high, num_runs)
            both = (low.global_batch_size, high.global_batch_size)
            return Reference(batch=batch, point=point, kind="interpolated", neighbors=both, pruned=pruned)
    return Reference(batch=batch, point=None, kind="missing", neighbors=(largest.global_batch_size,), pruned=pruned)


def least_acceptable_mean(point: Point, num_runs: int) -> float:
    """The mean of an entry with num_runs runs at which the one-sided p against the point is 0.05.

    The entry is assumed to have the reference's deviation, which is then also the pooled one. Both means leave out the
    smallest and the largest count.
    """
    num_own = num_runs - 2
    degrees = point.num_counts + num_own - 2
    if point.deviation == 0 or num_own < 1 or degrees < 1:
        return point.mean
    standard_error = point.deviation * math.sqrt(1 / point.num_counts + 1 / num_own)
    return max(0.0, point.mean - t_quantile(1 - SIGNIFICANCE, degrees) * standard_error)


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution: the t with P(T <= t) = probability, for integer degrees of freedom."""
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    low, high = 0.0, math.pi / 2  # t = sqrt(degrees) tan(angle) is unbounded, the angle is not
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _t_probability(middle, degrees) > probability else (middle, high)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _t_probability(angle: float, degrees: int) -> float:
    """P(T <= sqrt(degrees) tan(angle)): the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, 0.0) if degrees % 2 else (1.0, 0.0)
    for power in range(degrees % 2 + 1, degrees, 2):
        total += term
        term *= cosine * cosine * power / (power + 1)
    central = 2 / math.pi * (angle + sine * total) if degrees % 2 else sine * total
    return (1 + central) / 2
