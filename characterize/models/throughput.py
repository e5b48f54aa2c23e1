# SPDX-License-Identifier: Apache-2.0
"""Throughput over ranks and batch from what others measured: log-linear, with an interval that grows with ignorance.

    model = ThroughputModel.fit(measurements)
    model.at(Setting(benchmark="deepcam", device="A100", era="2.0", num_ranks=512, global_batch_size=1024))

log2(samples/s of a rank) = benchmark + device + era + a x log2(local batch) + b x log2(ranks): Bayesian linear
regression whose prior says what is known beforehand (bigger local batches are a little faster, more ranks a little
slower) and whose noise is the likeliest of a grid. A device that nobody measured is not refused: it costs spread.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from characterize.models.time_to_train import Estimate

# Prior deviations in factors of two: how far the levels of a factor lie apart before anything was measured.
PRIOR_SPREAD = {"benchmark": 3.0, "device": 1.5, "era": 0.7}
LOCAL_BATCH_SLOPE = (0.25, 0.15)
"""Mean and deviation: doubling a rank's batch makes it about 1.2 times as fast."""
RANKS_SLOPE = (-0.1, 0.1)
"""Doubling the ranks at the same local batch loses about 7 % of a rank's throughput."""
OVERALL = (3.0, 6.0)
"""Of the intercept: 8 samples per second and rank, give or take everything."""
NOISE_GRID = tuple(0.1 * 1.25**step for step in range(12))
"""Candidates for what the model leaves unexplained, in factors of two: 0.1 to 1.2."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where a throughput is wanted."""

    benchmark: str
    device: str
    """Family of the accelerator, or of the processor where there is none."""
    era: str
    """Rules version of the round: a stand-in for the software of its time."""
    num_ranks: int
    global_batch_size: int

    @property
    def local_batch_size(self) -> float:
        """Below 1 where several ranks share a sample."""
        return self.global_batch_size / self.num_ranks


@dataclass(frozen=True, kw_only=True)
class ThroughputModel:
    """Posterior of the weights."""

    levels: tuple[tuple[str, str], ...]
    """(factor, level) of each indicator, in the order of the weights behind intercept and slopes."""
    mean: np.ndarray
    covariance: np.ndarray
    noise: float
    """Standard deviation that stays unexplained, in factors of two."""

    @classmethod
    def fit(cls, measured: Sequence[tuple[Setting, float]]) -> "ThroughputModel":
        """`measured`: settings with the samples per second of all ranks together."""
        levels = tuple(sorted({pair for setting, _ in measured for pair in _factors(setting)}))
        design = np.array([_row(setting, levels) for setting, _ in measured])
        target = np.array([math.log2(rate / setting.num_ranks) for setting, rate in measured])
        prior_mean, prior_variance = _prior(levels)
        noise = max(NOISE_GRID, key=lambda one: _log_evidence(design, target, prior_mean, prior_variance, one))
        precision = np.diag(1 / prior_variance) + design.T @ design / noise**2
        covariance = np.linalg.inv(precision)
        mean = covariance @ (prior_mean / prior_variance + design.T @ target / noise**2)
        return cls(levels=levels, mean=mean, covariance=covariance, noise=noise)

    def at(self, setting: Setting) -> Estimate:
        """Samples per second of all ranks together."""
        row = np.array(_row(setting, self.levels))
        unknown = sum(PRIOR_SPREAD[factor] ** 2 for factor, _ in self.unknown(setting))
        variance = row @ self.covariance @ row + self.noise**2 + unknown
        rate_per_rank = 2.0 ** float(row @ self.mean)
        return Estimate(median=rate_per_rank * setting.num_ranks, spread=math.sqrt(variance) * math.log(2))

    def unknown(self, setting: Setting) -> list[tuple[str, str]]:
        """The factors of a setting that no measurement has."""
        return [pair for pair in _factors(setting) if pair not in self.levels]


def _factors(setting: Setting) -> list[tuple[str, str]]:
    return [("benchmark", setting.benchmark), ("device", setting.device), ("era", setting.era)]


def _row(setting: Setting, levels: Sequence[tuple[str, str]]) -> list[float]:
    own = set(_factors(setting))
    slopes = [1.0, math.log2(setting.local_batch_size), math.log2(setting.num_ranks)]
    return slopes + [float(level in own) for level in levels]


def _prior(levels: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    slopes = (OVERALL, LOCAL_BATCH_SLOPE, RANKS_SLOPE)
    mean = [mean for mean, _ in slopes] + [0.0] * len(levels)
    deviation = [deviation for _, deviation in slopes] + [PRIOR_SPREAD[factor] for factor, _ in levels]
    return np.array(mean), np.array(deviation) ** 2


def _log_evidence(design, target, prior_mean, prior_variance, noise: float) -> float:
    """Logarithm of the probability of the measurements under this noise, but for a constant."""
    covariance = noise**2 * np.eye(len(target)) + (design * prior_variance) @ design.T
    residual = target - design @ prior_mean
    _, log_determinant = np.linalg.slogdet(covariance)
    return -0.5 * float(residual @ np.linalg.solve(covariance, residual) + log_determinant)
