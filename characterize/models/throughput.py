# SPDX-License-Identifier: Apache-2.0
"""Throughput over device, ranks and batch size, fitted to public entries.

    model = throughput_model([(setting, samples_per_s), ...])
    model.at(Setting(benchmark="deepcam", device=a100, round="2.0", year=2022.7, team="", num_ranks=512, ...))

Samples per second of a rank depend on the benchmark, the device's peak rate and memory bandwidth, the local batch size,
the number of ranks, the year (software improves), and the team that tuned the code. More ranks never make a rank
faster: entries with more ranks also had other code and caches, so a free slope would mix these effects.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from characterize.devices.device_table import Device
from characterize.models.log_linear import Factor, LogLinearModel, Slope
from characterize.models.time_to_train import Estimate

RATE_PER_RANK = (3.0, 6.0)
"""Prior of log2(samples/s of a rank): 8 samples/s, within a factor of 64."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Conditions of a throughput."""

    benchmark: str
    device: Device
    round: str
    """Version of the rules: entries of a round used software of the same age."""
    year: float
    team: str
    """Organization that tuned the code; empty if unknown."""
    num_ranks: int
    global_batch_size: int

    @property
    def local_batch_size(self) -> float:
        """Samples per rank; below 1 if several ranks share a sample."""
        return self.global_batch_size / self.num_ranks


# Coefficients are doublings of a rank's rate per doubling of the covariate, or per year. The covariates are centered on
# the middle of the public entries, so that the slopes' priors do not change the prior of the intercept.
SLOPES = (
    Slope(covariate=lambda one: math.log2(one.num_ranks) - 8, mean=-0.1, deviation=0.05, at_most_zero=True),
    Slope(covariate=lambda one: math.log2(one.local_batch_size), mean=0.2, deviation=0.15),
    Slope(covariate=lambda one: math.log2(one.device.training_tflops) - 6, mean=0.5, deviation=0.15),
    Slope(covariate=lambda one: math.log2(one.device.memory_gb_per_s) - 10, mean=0.5, deviation=0.15),
    Slope(covariate=lambda one: one.year - 2022, mean=0.4, deviation=0.3),
)
FACTORS = (
    Factor(level=lambda one: one.benchmark, deviation=1.5),
    Factor(level=lambda one: one.device.name, deviation=0.5),
    Factor(level=lambda one: (one.benchmark, one.round), deviation=0.3),
    Factor(level=lambda one: one.team, deviation=0.4),
    Factor(level=lambda one: (one.team, one.benchmark, one.round), deviation=0.3),
)


@dataclass(frozen=True, kw_only=True)
class ThroughputModel:
    """Samples per second of all ranks together."""

    per_rank: LogLinearModel

    def at(self, setting: Setting) -> Estimate:
        """Training samples per second; evaluation time is included."""
        rate = self.per_rank.at(setting)
        return Estimate(median=rate.median * setting.num_ranks, spread=rate.spread)


def throughput_model(measured: Sequence[tuple[Setting, float]]) -> ThroughputModel:
    """Fit to settings with the samples per second of all ranks together."""
    per_rank = [(setting, rate / setting.num_ranks) for setting, rate in measured]
    fitted = LogLinearModel.fit(per_rank, intercept=RATE_PER_RANK, slopes=SLOPES, factors=FACTORS)
    return ThroughputModel(per_rank=fitted)
