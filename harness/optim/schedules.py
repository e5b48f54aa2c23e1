# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules as pure functions of time: the epoch counted from 0, or the step. A call uses one unit only.

rate = step_decay(epoch, peak=0.012, boundaries=[32, 64], factors=[0.25, 0.125])
rate = linear_warmup(epoch, rate, peak=0.012, warmup=4, warmup_factor=12)
"""

import math
from collections.abc import Sequence


def linear_warmup(time: float, rate: float, *, peak: float, warmup: float, warmup_factor: float) -> float:
    """A linear rise from peak / warmup_factor at time 0 to peak at time `warmup`; from then on `rate`.

    The factor is MLPerf's opt_learning_rate_warmup_factor as the CosmoFlow reference and the public logs of v1.0 and
    later use it: peak (opt_base_learning_rate) divided by the first rate. Some v0.7 logs give its inverse.
    """
    if time >= warmup:
        return rate
    start = peak / warmup_factor
    return start + (peak - start) * time / warmup


def step_decay(
    time: float, *, peak: float, boundaries: Sequence[float], factors: float | Sequence[float] = 1.0
) -> float:
    """The peak times the factor of the last boundary passed. A boundary is passed if `boundary < time`, not at it.

    `factors`: a list gives each boundary's fraction of the peak; a number multiplies once more at each boundary.
    """
    num_passed = sum(boundary < time for boundary in boundaries)
    if num_passed == 0:
        return peak
    if isinstance(factors, Sequence):
        return peak * factors[num_passed - 1]
    return peak * factors**num_passed


def polynomial_decay(time: float, *, peak: float, start: float, stop: float, end: float = 0.0, power: float) -> float:
    """From peak at time `start` to end at time `stop` along a power of the time left; constant before and after."""
    left = 1 - _progress(time, start, stop)
    return end + (peak - end) * left**power


def linear_decay(time: float, *, peak: float, start: float, stop: float, end: float = 0.0) -> float:
    """A straight line from peak at time `start` to end at time `stop`; constant before and after."""
    return polynomial_decay(time, peak=peak, start=start, stop=stop, end=end, power=1)


def cosine_decay(time: float, *, peak: float, start: float, stop: float, end: float = 0.0) -> float:
    """Half a cosine wave from peak at time `start` to end at time `stop`; constant before and after.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), one period.
    """
    return end + (peak - end) * (1 + math.cos(math.pi * _progress(time, start, stop))) / 2


def _progress(time: float, start: float, stop: float) -> float:
    if stop <= start:
        return float(time >= stop)
    return min(max((time - start) / (stop - start), 0.0), 1.0)
