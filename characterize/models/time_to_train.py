# SPDX-License-Identifier: Apache-2.0
"""Time to train as in Figure 2 of the MLPerf HPC paper: staging + epochs(batch) x samples / throughput(ranks, batch).

    epochs = EpochCurve.through({64: 18.3, 128: 17.9, 512: 22.8, 1024: 40.0})
    prediction = time_to_train(epochs.at(256), throughput, samples_per_epoch=524288, staging_minutes=2)

Estimates are log-normal (median and standard deviation of the natural logarithm), because epochs and seconds per epoch
multiply and their errors are factors. Pure functions.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

SECONDS_PER_MINUTE = 60
RUN_TO_RUN = 0.08
"""Default spread of epochs between entries at one batch size (v0.7: 11 % between runs)."""
SPREAD_PER_DOUBLING = 0.25
"""Additional spread for each doubling of the batch size beyond the points."""
STAGING_SPREAD = 1.0
"""Spread of staging minutes taken from other sites, which range from seconds to a quarter of an hour."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Log-normal estimate of a positive quantity."""

    median: float
    spread: float
    """Standard deviation of the natural logarithm."""

    def interval(self, width: float = 1.645) -> tuple[float, float]:
        """Median divided and multiplied by e^(width x spread); 1.645 gives a 90 % interval if the spread is right."""
        factor = math.exp(width * self.spread)
        return self.median / factor, self.median * factor


@dataclass(frozen=True, kw_only=True)
class EpochCurve:
    """Epochs to the target over the global batch size, interpolated linearly on logarithmic axes."""

    points: tuple[tuple[float, float], ...]
    """(batch size, mean epochs), sorted by batch size."""

    @classmethod
    def through(cls, epochs_by_batch: Mapping[float, float]) -> "EpochCurve":
        return cls(points=tuple(sorted(epochs_by_batch.items())))

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> "EpochCurve":
        """Build a curve from (batch size, epochs) pairs; values at one batch size become their median."""
        by_batch: dict[float, list[float]] = {}
        for batch, epochs in pairs:
            by_batch.setdefault(batch, []).append(epochs)
        return cls.through({batch: median(values) for batch, values in by_batch.items()})

    @property
    def batches(self) -> tuple[float, ...]:
        return tuple(batch for batch, _ in self.points)

    def at(self, batch: float) -> Estimate:
        """Interpolated epochs; constant below the points and along the last slope above them, with growing spread."""
        if batch <= self.points[0][0]:
            return self._beyond(batch, self.points[0], slope=0.0)
        if batch > self.points[-1][0]:
            return self._beyond(batch, self.points[-1], slope=self._last_slope())
        low, high = next(pair for pair in pairwise(self.points) if pair[1][0] >= batch)
        share = math.log(batch / low[0]) / math.log(high[0] / low[0])
        # The curve between two points is unknown, so the spread grows towards the middle of a step.
        doubt = min(share, 1 - share) * abs(math.log(high[1] / low[1]))
        epochs = math.exp((1 - share) * math.log(low[1]) + share * math.log(high[1]))
        return Estimate(median=epochs, spread=math.hypot(RUN_TO_RUN, doubt))

    def _last_slope(self) -> float:
        """Slope of the last segment, limited to 0 (epochs do not fall with the batch) and 1 (no fewer steps)."""
        if len(self.points) < 2:
            return 0.0
        (batch_low, low), (batch_high, high) = self.points[-2:]
        return min(1.0, max(0.0, math.log(high / low) / math.log(batch_high / batch_low)))

    @staticmethod
    def _beyond(batch: float, nearest: tuple[float, float], *, slope: float) -> Estimate:
        doublings = abs(math.log2(batch / nearest[0]))
        epochs = nearest[1] * (batch / nearest[0]) ** slope
        return Estimate(median=epochs, spread=math.hypot(RUN_TO_RUN, SPREAD_PER_DOUBLING * doublings))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted time to train with its parts."""

    minutes: Estimate
    epochs: Estimate
    throughput: Estimate
    """Training samples per second, evaluation time included."""
    staging_minutes: float
    startup_minutes: float
    """Extra time of the first epoch, for example for compilation; 0 if the throughput includes it."""


def time_to_train(
    epochs: Estimate,
    throughput: Estimate,
    *,
    samples_per_epoch: float,
    staging_minutes: float = 0.0,
    startup_minutes: float = 0.0,
) -> Prediction:
    """Equation 1 of the MLPerf HPC paper: staging + epochs x seconds per epoch. Independent spreads add in squares."""
    computing = epochs.median * samples_per_epoch / throughput.median / SECONDS_PER_MINUTE
    total = computing + staging_minutes + startup_minutes
    spread = (
        math.hypot(epochs.spread * computing, throughput.spread * computing, STAGING_SPREAD * staging_minutes) / total
    )
    return Prediction(
        minutes=Estimate(median=total, spread=spread),
        epochs=epochs,
        throughput=throughput,
        staging_minutes=staging_minutes,
        startup_minutes=startup_minutes,
    )


def fastest(predictions: Mapping[tuple[int, int], Prediction]) -> tuple[int, int]:
    """(ranks, batch) with the shortest predicted time; fewer ranks win a tie."""
    return min(predictions, key=lambda key: (predictions[key].minutes.median, key))
