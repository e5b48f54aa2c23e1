# SPDX-License-Identifier: Apache-2.0
"""Bayesian log-linear regression for few, grouped measurements: throughput and staging of public entries.

    model = LogLinearModel.fit(measured, intercept=(3.0, 6.0), slopes=SLOPES, factors=FACTORS)
    model.at(setting)                       # Estimate(median, spread)

log2(value) = intercept + sum of slope x covariate + one effect per level of each factor + noise. The priors state what
is known before any measurement. A level that was never measured, such as a new device, adds its factor's prior
deviation to the spread. The noise is the most likely one of a grid. A slope may be constrained to be at most 0.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from characterize.models.time_to_train import Estimate

NOISE_GRID = tuple(0.1 * 1.25**step for step in range(12))
"""Candidate deviations of the unexplained part, in factors of two: 0.1 to 1.2."""


@dataclass(frozen=True, kw_only=True)
class Slope:
    """A covariate with the prior of its coefficient."""

    covariate: Callable[[Any], float]
    mean: float
    deviation: float
    at_most_zero: bool = False
    """True if a positive coefficient is impossible; the fit then uses 0 instead."""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A grouping of the measurements; each of its levels has an effect around 0."""

    level: Callable[[Any], Hashable]
    deviation: float
    """Prior deviation of the effects, in factors of two."""


@dataclass(frozen=True, kw_only=True)
class LogLinearModel:
    """Posterior of the coefficients."""

    slopes: tuple[Slope, ...]
    factors: tuple[Factor, ...]
    levels: tuple[tuple[int, Hashable], ...]
    """(index of the factor, level) of each indicator; the order of the coefficients after intercept and slopes."""
    mean: np.ndarray
    covariance: np.ndarray
    noise: float
    """Standard deviation of the unexplained part, in factors of two."""

    @classmethod
    def fit(
        cls,
        measured: Sequence[tuple[Any, float]],
        *,
        intercept: tuple[float, float],
        slopes: Sequence[Slope] = (),
        factors: Sequence[Factor] = (),
    ) -> "LogLinearModel":
        """Fit to (setting, value) pairs; `intercept`: prior mean and deviation of log2(value)."""
        levels = tuple(dict.fromkeys(pair for setting, _ in measured for pair in _levels(setting, factors)))
        design = np.array([_row(setting, slopes, factors, levels) for setting, _ in measured])
        target = np.array([math.log2(value) for _, value in measured])
        prior_mean, prior_variance = _prior(intercept, slopes, factors, levels)
        evidence = {noise: _log_evidence(design, target, prior_mean, prior_variance, noise) for noise in NOISE_GRID}
        noise = max(evidence, key=lambda candidate: evidence[candidate])
        covariance = np.linalg.inv(np.diag(1 / prior_variance) + design.T @ design / noise**2)
        mean = covariance @ (prior_mean / prior_variance + design.T @ target / noise**2)
        for index, slope in enumerate(slopes, start=1):
            if slope.at_most_zero and mean[index] > 0:
                mean, covariance = _condition_on_zero(mean, covariance, index)
        common = {"slopes": tuple(slopes), "factors": tuple(factors), "levels": levels, "noise": noise}
        return cls(mean=mean, covariance=covariance, **common)

    def at(self, setting: Any) -> Estimate:
        """Estimate of the value at a setting."""
        row = np.array(_row(setting, self.slopes, self.factors, self.levels))
        unknown = sum(self.factors[index].deviation ** 2 for index, _ in self.unknown(setting))
        variance = row @ self.covariance @ row + self.noise**2 + unknown
        return Estimate(median=2.0 ** float(row @ self.mean), spread=math.sqrt(variance) * math.log(2))

    def unknown(self, setting: Any) -> list[tuple[int, Hashable]]:
        """Levels of a setting that no measurement has."""
        return [pair for pair in _levels(setting, self.factors) if pair not in self.levels]


def _levels(setting: Any, factors: Sequence[Factor]) -> list[tuple[int, Hashable]]:
    return [(index, factor.level(setting)) for index, factor in enumerate(factors)]


def _row(setting: Any, slopes: Sequence[Slope], factors: Sequence[Factor], levels: Sequence) -> list[float]:
    own = set(_levels(setting, factors))
    return [1.0, *(slope.covariate(setting) for slope in slopes), *(float(level in own) for level in levels)]


def _prior(intercept, slopes, factors, levels) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of all coefficients."""
    known = [intercept, *((slope.mean, slope.deviation) for slope in slopes)]
    effects = [(0.0, factors[index].deviation) for index, _ in levels]
    mean, deviation = np.array([*known, *effects]).T
    return mean, deviation**2


def _log_evidence(design, target, prior_mean, prior_variance, noise: float) -> float:
    """Logarithm of the probability of the measurements under this noise, without its constant."""
    covariance = noise**2 * np.eye(len(target)) + (design * prior_variance) @ design.T
    residual = target - design @ prior_mean
    _, log_determinant = np.linalg.slogdet(covariance)
    return -0.5 * float(residual @ np.linalg.solve(covariance, residual) + log_determinant)


def _condition_on_zero(mean: np.ndarray, covariance: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Posterior if one coefficient is known to be 0."""
    gain = covariance[:, index] / covariance[index, index]
    return mean - gain * mean[index], covariance - np.outer(gain, covariance[index])
