# SPDX-License-Identifier: Apache-2.0
"""Reference convergence: did an entry need significantly fewer epochs than the reference at its batch size?

    points = [point_of(batch, epochs) for batch, epochs in {256: [9, 9, 9, 9], 512: [11, 10, 12, 11]}.items()]
    reference = reference_at(384, points, num_runs=5)           # interpolated between the two
    least_acceptable_mean(reference.point, num_runs=5)          # below it: significantly faster, refused

MLPerf HPC rules, "Reference convergence points": one-sided two-sample t test with pooled variance at p = 0.05. What is
counted is epochs, for openfold training samples. Pure mathematics; comparison.py applies it to logs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Point:
    """How many epochs the reference needs at one global batch size."""

    global_batch_size: float
    mean: float
    """Without the smallest and the largest count."""
    deviation: float
    """Population standard deviation of all counts."""
    num_counts: int
    """Counts that the mean holds; for an interpolated point twice an entry's runs."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What an entry's batch size is compared with."""

    batch: float
    point: Point | None
    """None: the reference has to be run at this batch size."""
    kind: str
    """measured, interpolated, smallest (the batch is below every point) or missing (above every point)."""
    neighbours: tuple[float, ...] = ()
    """Batch sizes of the points that were used."""
    pruned: tuple[float, ...] = ()
    """Batch sizes of points that pruning took away."""

    def describe(self) -> str:
        """Which point was used, and why."""
        near = " and ".join(f"{batch:g}" for batch in self.neighbours)
        why = {
            "measured": f"measured at batch {self.batch:g}",
            "interpolated": f"interpolated at batch {self.batch:g} between {near}",
            "smallest": f"batch {self.batch:g} is below every point; the smallest, {near}, is used",
            "missing": f"batch {self.batch:g} is above every point (largest {near}): the reference must be run",
        }[self.kind]
        pruned = ", ".join(f"{batch:g}" for batch in self.pruned)
        return f"{why}; pruned as slower than the rest: {pruned}" if pruned else why


def point_of(batch: float, counts: Sequence[float]) -> Point:
    """The point of the reference's runs at one batch size; at least three of them."""
    kept = sorted(counts)[1:-1]
    mean_of_all = math.fsum(counts) / len(counts)
    variance = math.fsum((count - mean_of_all) ** 2 for count in counts) / len(counts)
    return Point(
        global_batch_size=batch,
        mean=math.fsum(kept) / len(kept),
        deviation=math.sqrt(variance),
        num_counts=len(kept),
    )


def interpolate(batch: float, low: Point, high: Point, num_runs: int) -> Point:
    """Mean and deviation linear in the batch size."""
    share = (batch - low.global_batch_size) / (high.global_batch_size - low.global_batch_size)
    return Point(
        global_batch_size=batch,
        mean=low.mean + share * (high.mean - low.mean),
        deviation=low.deviation + share * (high.deviation - low.deviation),
        num_counts=2 * num_runs,
    )


def prune(points: Sequence[Point], num_runs: int) -> list[Point]:
    """Take away what is slower than it need be: a batch size below the fastest, a point above its neighbours' line."""
    ordered = sorted(points, key=lambda point: point.global_batch_size)
    fastest = min(ordered, key=lambda point: point.mean)
    kept = [point for point in ordered if point.global_batch_size >= fastest.global_batch_size]
    # One pass: after a point has gone, its successor is compared, but no predecessor again, as in the published rounds.
    index = 1
    while index < len(kept) - 1:
        low, point, high = kept[index - 1 : index + 2]
        if point.mean > interpolate(point.global_batch_size, low, high, num_runs).mean:
            del kept[index]
        else:
            index += 1
    return kept


def reference_at(batch: float, points: Sequence[Point], num_runs: int) -> Reference:
    """The pruned points' word on a batch size; num_runs is what the rules require of an entry."""
    kept = prune(points, num_runs)
    pruned = tuple(sorted({point.global_batch_size for point in points} - {point.global_batch_size for point in kept}))
    smallest, largest = kept[0], kept[-1]
    for point in kept:
        if point.global_batch_size == batch:
            return Reference(batch=batch, point=point, kind="measured", neighbours=(batch,), pruned=pruned)
    if batch < smallest.global_batch_size:
        near = (smallest.global_batch_size,)
        return Reference(batch=batch, point=smallest, kind="smallest", neighbours=near, pruned=pruned)
    for low, high in pairwise(kept):
        if low.global_batch_size < batch < high.global_batch_size:
            point = interpolate(batch, low, high, num_runs)
            near = (low.global_batch_size, high.global_batch_size)
            return Reference(batch=batch, point=point, kind="interpolated", neighbours=near, pruned=pruned)
    return Reference(batch=batch, point=None, kind="missing", neighbours=(largest.global_batch_size,), pruned=pruned)


def least_acceptable_mean(point: Point, num_runs: int) -> float:
    """The mean of an entry of num_runs runs at which the one-sided p against the point is 0.05.

    The entry's deviation is taken to be the reference's, so that the pooled deviation is that too; like the point's,
    its mean leaves out the smallest and the largest count.
    """
    num_own = num_runs - 2
    degrees = point.num_counts + num_own - 2
    if point.deviation == 0 or num_own < 1 or degrees < 1:
        return point.mean
    standard_error = point.deviation * math.sqrt(1 / point.num_counts + 1 / num_own)
    return max(0.0, point.mean - t_quantile(1 - SIGNIFICANCE, degrees) * standard_error)


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """The t with P(T <= t) = probability, of Student's distribution with a whole number of degrees of freedom."""
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    low, high = 0.0, math.pi / 2  # t = sqrt(degrees) tan(angle) has no upper end, its angle has
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
