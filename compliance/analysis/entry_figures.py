# SPDX-License-Identifier: Apache-2.0
"""EntryFigures: one entry's system, runs and means, as the tables and figures of the MLPerf HPC paper show them.

figures = entry_figures(entry, rules, score)
figures.epochs, figures.training_rate_per_unit, figures.predicted_staging_share
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from compliance.analysis.run_figures import RunFigures, run_figures
from compliance.analysis.spread import Spread, spread_of
from compliance.checks.registry import EntryRules
from compliance.scoring.score import Score
from compliance.submissions.hardware import Hardware, hardware, logged
from compliance.submissions.reader import Entry

LEAST_STAGING_MINUTES = 1 / 60
"""Below a second, staging marks were logged without any staging."""
MINUTES_PER_HOUR = 60


@dataclass(frozen=True, kw_only=True)
class EntryFigures:
    """One entry with the runs that its score is made of: without those that are dropped."""

    org: str
    system: str
    benchmark: str
    division: str
    scaling: str
    """strong (time to train) or weak (throughput)."""
    hardware: Hardware
    units: int | None
    """Accelerators that train one model, or processors if there are none."""
    unit: str
    """accelerator or processor."""
    batch_size: float | None
    """Global batch size."""
    precision: str
    """As logged; empty if it is not."""
    compression: str
    """Gradient compression, as logged; empty if it is not."""
    flops_per_image: float | None
    """Floating-point operations, as logged by HPC AI500 runs."""
    score: Score
    runs: Sequence[RunFigures]

    @property
    def title(self) -> str:
        return self.system or self.benchmark

    @property
    def family(self) -> tuple[str, str, str]:
        """Entries of one family differ in scale: same organization, benchmark and accelerator (or processor)."""
        return self.org, self.benchmark, self.hardware.device

    @cached_property
    def minutes(self) -> Spread | None:
        """Time to solution."""
        return self._spread(lambda run: run.minutes)

    @cached_property
    def epochs(self) -> Spread | None:
        return self._spread(lambda run: float(run.num_epochs) if run.num_epochs else None)

    @cached_property
    def epoch_minutes(self) -> Spread | None:
        """T_epoch: training and evaluation time per epoch."""
        return self._spread(lambda run: run.epoch_minutes)

    @cached_property
    def training_rate_per_unit(self) -> Spread | None:
        """Training samples per second and unit."""
        return self._per_unit(lambda run: run.training_rate)

    @cached_property
    def evaluation_rate_per_unit(self) -> Spread | None:
        """Validation samples per second and unit."""
        return self._per_unit(lambda run: run.evaluation_rate)

    @cached_property
    def staging_minutes(self) -> Spread | None:
        """None if the runs did not stage."""
        staging = self._spread(lambda run: run.phases.staging_minutes)
        return staging if staging is not None and staging.mean >= LEAST_STAGING_MINUTES else None

    @property
    def staging_ratio(self) -> float | None:
        """T_staging / T_epoch, which is also the ratio of compute throughput to staging throughput."""
        if self.staging_minutes is None or self.epoch_minutes is None or not self.epoch_minutes.mean:
            return None
        return self.staging_minutes.mean / self.epoch_minutes.mean

    @property
    def predicted_staging_share(self) -> float | None:
        """Equation 2 of the paper: (T_staging / T_epoch) / (T_staging / T_epoch + epochs)."""
        if self.staging_ratio is None or self.epochs is None:
            return None
        return self.staging_ratio / (self.staging_ratio + self.epochs.mean)

    @property
    def staging_share(self) -> float | None:
        """Measured T_staging / T_solution."""
        if self.staging_minutes is None or self.minutes is None:
            return None
        return self.staging_minutes.mean / self.minutes.mean

    @property
    def evaluation_share(self) -> float | None:
        """Evaluation time / time to solution."""
        evaluated = self._spread(lambda run: run.phases.evaluation_minutes)
        return evaluated.mean / self.minutes.mean if evaluated and self.minutes and self.minutes.mean else None

    @property
    def evaluations_per_epoch(self) -> float | None:
        """Above 1 if evaluation follows the step count, below 1 if it does not follow every epoch."""
        epochs = sum(run.num_epochs for run in self.runs)
        return sum(run.num_evaluations for run in self.runs) / epochs if epochs else None

    @property
    def compute_budget_hours(self) -> float | None:
        """Unit hours of a mean run: time to solution x units."""
        return None if self.minutes is None or not self.units else self.minutes.mean * self.units / MINUTES_PER_HOUR

    @cached_property
    def samples_per_epoch(self) -> float | None:
        """Training and validation samples."""
        samples = [run.samples_per_epoch for run in self.runs]
        known = [number for number in samples if number is not None]
        return fmean(known) if known and len(known) == len(samples) else None

    @cached_property
    def train_samples(self) -> int | None:
        """Value of the first run that logs it."""
        return next((run.train_samples for run in self.runs if run.train_samples is not None), None)

    def _spread(self, value: Callable[[RunFigures], float | None]) -> Spread | None:
        return spread_of(value(run) for run in self.runs)

    def _per_unit(self, value: Callable[[RunFigures], float | None]) -> Spread | None:
        total = self._spread(value)
        return total.scaled(1 / self.units) if total is not None and self.units else None


def entry_figures(entry: Entry, rules: EntryRules, score: Score) -> EntryFigures:
    """The figures of an entry; it has no runs if none ended."""
    system = hardware(entry)
    units, unit = _units(entry, system, score)
    kept = [log for log in entry.runs if log.path.name not in score.dropped]
    figures = (run_figures(log, rules.benchmark) for log in kept)
    return EntryFigures(
        org=entry.org,
        system=entry.system,
        benchmark=entry.benchmark,
        division=entry.division,
        scaling=entry.scaling,
        hardware=system,
        units=units,
        unit=unit,
        batch_size=_number(logged(entry, "global_batch_size")),
        precision=_text(logged(entry, "precision")),
        compression=_text(logged(entry, "gradient_compression")),
        flops_per_image=_number(logged(entry, "flops_per_image")),
        score=score,
        runs=[run for run in figures if run is not None],
    )


def _units(entry: Entry, system: Hardware, score: Score) -> tuple[int | None, str]:
    """How many accelerators (or processors) train one model, and which of the two.

    A rank has one of them, so that the logged ranks are the number; without them the described system tells it, and
    for one instance of many what the instance logs.
    """
    unit = "accelerator" if system.num_accelerators else "processor"
    ranks = logged(entry, "number_of_ranks")
    if type(ranks) is int and ranks > 0:
        return ranks, unit
    if entry.scaling == "weak" and score.throughput is not None:
        return score.throughput.instance_scale, unit
    number = system.num_accelerators or system.num_processors
    return (int(number) if number else None), unit


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) and 0 < value < 1e18 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
