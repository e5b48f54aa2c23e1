# SPDX-License-Identifier: Apache-2.0
"""VFLOPS: HPC AI500 V2.0's score of a fixed number of epochs, FLOPS weighted by the quality that was reached.

    FLOPS = images/s/rank x ranks x FLOPs/image            (section 8.2)
    VFLOPS = FLOPS x (achieved / target)^n                 (section 5.4.1)

A run logs images_per_second_per_rank (once, or once an epoch), number_of_ranks, flops_per_image and, if the energy is
measured, energy_joules from run_start to run_stop. Without it the per-watt figures are None, never zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, harmonic_mean, stdev
from typing import Any

from compliance.rulesets.ruleset import Benchmark
from compliance.run_log import Event, RunLog
from compliance.scoring.run_metrics import MS_PER_MINUTE, epoch_of, evaluations, first_on_target, run_minutes

SECONDS_PER_MINUTE = 60
SMALLEST, LARGEST = 1e-50, 1e50  # of any logged factor: keeps infinity and integers of 400 digits out of the products
METRICS = ("minutes", "time_to_quality_minutes", "quality", "flops", "flops_per_watt", "vflops", "vflops_per_watt")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One complete run: all fixed epochs trained, the last one evaluated."""

    name: str
    """File name of the log."""
    minutes: float
    """All epochs: run_stop - run_start."""
    time_to_quality_minutes: float | None
    """From run_start to the first evaluation that meets the target; None if none does."""
    quality: float
    """The achieved quality: the evaluation of the last epoch."""
    flops: float
    """Floating-point operations a second."""
    vflops: float
    flops_per_watt: float | None
    vflops_per_watt: float | None


@dataclass(frozen=True, kw_only=True)
class Vflops:
    """One entry: means over the trials without the highest and the lowest VFLOPS."""

    minutes: float
    time_to_quality_minutes: float | None
    """None if a kept trial never met the target."""
    quality: float
    flops: float
    flops_per_watt: float | None
    vflops: float
    vflops_per_watt: float | None
    variation: dict[str, float | None]
    """Standard deviation / mean over all trials, by metric (section 4.3)."""
    trials: tuple[Trial, ...]
    dropped: tuple[str, ...]
    """File names of the trials with the highest and the lowest VFLOPS."""
    rank: int | None = None
    """Rank among the entries of the same benchmark and level, starting at 1."""


def quality_factor(achieved: float, target: float, exponent: float) -> float:
    """The penalty coefficient, which also rewards a quality above the target (equation 2)."""
    return (achieved / target) ** exponent


def flops(images_per_second_per_rank: float, num_ranks: float, flops_per_image: float) -> float:
    """Throughput in floating-point operations a second (section 8.2: N x R x C)."""
    return images_per_second_per_rank * num_ranks * flops_per_image


def variation(values: Sequence[float | None]) -> float | None:
    """Sample standard deviation / mean; None below two values, if a value is missing, or if the mean is zero."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(known) < len(values) or fmean(known) == 0:
        return None
    return stdev(known) / fmean(known)


def images_per_second_per_rank(log: RunLog) -> float | None:
    """The logged rate; the harmonic mean of several, since every epoch has the same number of images."""
    values = [event.value for event in log.all("images_per_second_per_rank")]
    return harmonic_mean(values) if values and all(map(_is_positive, values)) else None


def final_evaluation(log: RunLog, benchmark: Benchmark) -> Event | None:
    """The last evaluation if it is that of the last fixed epoch (epochs count from 0 or from 1), otherwise None."""
    trained, evaluated = log.all("epoch_stop"), list(evaluations(log, benchmark))
    if len(trained) != benchmark.num_epochs or not evaluated:
        return None
    last = epoch_of(trained[-1])
    return evaluated[-1] if last is not None and epoch_of(evaluated[-1]) == last else None


def trial(log: RunLog, benchmark: Benchmark) -> Trial | None:
    """The figures of one run; None if the run is incomplete or does not log its FLOPS."""
    minutes = run_minutes(log)
    final = final_evaluation(log, benchmark)
    operations = _operations_per_second(log)
    if minutes is None or minutes <= 0 or final is None or operations is None:
        return None
    valid = operations * quality_factor(final.value, benchmark.target.threshold, benchmark.values["vflops_exponent"])
    watts = _watts(log, minutes)
    return Trial(
        name=log.path.name,
        minutes=minutes,
        time_to_quality_minutes=_minutes_to_quality(log, benchmark),
        quality=final.value,
        flops=operations,
        vflops=valid,
        flops_per_watt=operations / watts if watts else None,
        vflops_per_watt=valid / watts if watts else None,
    )


def _operations_per_second(log: RunLog) -> float | None:
    """FLOPS of a run; None if a factor is missing or not a positive number."""
    speed, ranks, per_image = (
        images_per_second_per_rank(log),
        log.value("number_of_ranks"),
        log.value("flops_per_image"),
    )
    if speed is None or not _is_positive(speed) or not _is_positive(ranks) or not _is_positive(per_image):
        return None
    return flops(speed, ranks, per_image)


def _minutes_to_quality(log: RunLog, benchmark: Benchmark) -> float | None:
    start, reached = log.first("run_start"), first_on_target(log, benchmark)
    return (reached.time_ms - start.time_ms) / MS_PER_MINUTE if reached and start else None


def summarize(trials: Sequence[Trial]) -> Vflops | None:
    """Drop the highest and the lowest VFLOPS and average the rest; None below three trials."""
    if len(trials) < 3:
        return None
    lowest, *kept, highest = sorted(trials, key=lambda trial: trial.vflops)
    means: dict[str, Any] = {metric: _mean([getattr(trial, metric) for trial in kept]) for metric in METRICS}
    return Vflops(
        **means,
        variation={metric: variation([getattr(trial, metric) for trial in trials]) for metric in METRICS},
        trials=tuple(trials),
        dropped=(highest.name, lowest.name),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Arithmetic mean; None if a value is missing, since a mean over some of the runs cannot be compared."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _watts(log: RunLog, minutes: float) -> float | None:
    joules = log.value("energy_joules")
    return joules / (minutes * SECONDS_PER_MINUTE) if _is_positive(joules) else None


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and SMALLEST < value < LARGEST
