# SPDX-License-Identifier: Apache-2.0
"""Minutes of staging over benchmark, ranks and team, fitted to public entries.

    model = staging_model([(setting, minutes), ...])
    model.at(setting)                      # minutes

More ranks copy faster, because each node copies its own part. Many entries do not stage or do not log it, so a small
offset is added to the minutes before taking logarithms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from characterize.models.log_linear import Factor, LogLinearModel, Slope
from characterize.models.throughput import Setting

OFFSET_MINUTES = 0.25
MINUTES = (0.0, 2.0)
"""Prior of log2(minutes + offset): one minute, within a factor of 4."""
SLOPES = (Slope(covariate=lambda one: math.log2(one.num_ranks) - 8, mean=-0.3, deviation=0.2, at_most_zero=True),)
FACTORS = (
    Factor(level=lambda one: one.benchmark, deviation=0.5),
    Factor(level=lambda one: (one.benchmark, one.round), deviation=0.3),
    Factor(level=lambda one: one.team, deviation=0.7),
    Factor(level=lambda one: (one.team, one.benchmark), deviation=0.7),
)


@dataclass(frozen=True, kw_only=True)
class StagingModel:
    """Minutes of staging."""

    with_offset: LogLinearModel

    def at(self, setting: Setting) -> float:
        return max(0.0, self.with_offset.at(setting).median - OFFSET_MINUTES)


def staging_model(measured: Sequence[tuple[Setting, float]]) -> StagingModel:
    """Fit to settings with minutes of staging; 0 if there was none."""
    shifted = [(setting, minutes + OFFSET_MINUTES) for setting, minutes in measured]
    return StagingModel(with_offset=LogLinearModel.fit(shifted, intercept=MINUTES, slopes=SLOPES, factors=FACTORS))
