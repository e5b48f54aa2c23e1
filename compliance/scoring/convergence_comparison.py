# SPDX-License-Identifier: Apache-2.0
"""Comparison: an entry's convergence beside the reference's, which `check` judges and `score` scales by.

comparison = compare(entry, limits)         # None where no reference convergence points apply
comparison.mean_epochs, comparison.scale_factor, comparison.describe()
"""

import math
import tomllib
from dataclasses import dataclass
from functools import cache

from compliance.checks.registry import EntryRules
from compliance.mllog import RunLog
from compliance.rulesets.ruleset import FOLDER, Benchmark
from compliance.scoring.reference_convergence import Point, Reference, least_acceptable_mean, point_of, reference_at
from compliance.scoring.run_metrics import converged
from compliance.submissions.reader import Entry

EQUAL = 1e-9  # relative; means of integers that were added in another order are still the same


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mean epochs to converge of an entry and of the reference; for openfold, training samples."""

    unit: str
    """epochs, or training samples."""
    reference: Reference | None
    """None where the entry's logs do not agree on one batch size."""
    mean_epochs: float | None
    """Without the smallest and the largest; None where a log does not count them, or more than one did not converge."""
    least_epochs: float | None
    """The least acceptable mean; None without a reference point."""
    uncounted: tuple[RunLog, ...] = ()
    """Converged logs whose last evaluation names no epoch."""

    @property
    def is_significantly_faster(self) -> bool:
        """Fewer epochs than chance can explain."""
        return (
            self.mean_epochs is not None
            and self.least_epochs is not None
            and self.mean_epochs < self.least_epochs * (1 - EQUAL)
        )

    @property
    def scale_factor(self) -> float:
        """Reference mean / own mean, where the entry was faster by no more than chance can explain; otherwise 1."""
        if self.mean_epochs is None or self.least_epochs is None or self.is_significantly_faster:
            return 1.0
        return max(1.0, self.reference.point.mean / self.mean_epochs)

    def describe(self) -> str:
        """Both means, and which point was used."""
        if self.reference is None:
            return "none: the runs' batch sizes differ"
        own = "not comparable" if self.mean_epochs is None else f"{self.mean_epochs:.6g} {self.unit}"
        if self.reference.point is None:
            return f"{own}; {self.reference.describe()}"
        point = f"{self.reference.point.mean:.6g}, at least {self.least_epochs:.6g}"
        return f"{own} against {point}; {self.reference.describe()}"


def compare(entry: Entry, limits: EntryRules) -> Comparison | None:
    """None in the Open division, for a single log, and where the rule set has no points for the benchmark."""
    benchmark = limits.benchmark
    points = _points(limits.ruleset.values.get("reference_convergence", ""), benchmark.name)
    if not points or limits.division != "closed" or entry.is_single_log or not entry.runs:
        return None
    counts = [epochs_to_converge(log, benchmark) for log in entry.runs]
    reference = _reference(entry, points, benchmark.num_runs)
    point = reference.point if reference else None
    return Comparison(
        unit="epochs" if benchmark.convergence_key == "epoch_num" else "training samples",
        reference=reference,
        mean_epochs=_mean_without_extremes(counts),
        least_epochs=least_acceptable_mean(point, benchmark.num_runs) if point else None,
        uncounted=tuple(log for log, count in zip(entry.runs, counts, strict=True) if count is None),
    )


def epochs_to_converge(log: RunLog, benchmark: Benchmark) -> float | None:
    """epoch_num of the last evaluation before run_stop; infinite without convergence, None where the log has none.

    openfold counts training samples: those of a train_samples event on the clock, else of the evaluation's epoch_num.
    """
    if not converged(log, benchmark):
        return math.inf
    start, stop = log.first("run_start"), log.last("run_stop")
    if benchmark.convergence_key != "epoch_num" and start is not None:
        running = [event.value for event in log.all(benchmark.convergence_key) if start.line < event.line < stop.line]
        if running:
            return _number(running[-1])
    before_stop = (event for event in reversed(log.all(benchmark.quality_key)) if event.line < stop.line)
    last = next(before_stop, None)
    return _number(last.metadata.epoch_num) if last is not None and last.metadata is not None else None


def _number(value: object) -> float | None:
    """A count of epochs that can be averaged."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15 else None


def _mean_without_extremes(counts: list[float | None]) -> float | None:
    kept = sorted(counts)[1:-1] if None not in counts else []
    return math.fsum(kept) / len(kept) if kept and math.isfinite(kept[-1]) else None


def _reference(entry: Entry, points: tuple[Point, ...], num_runs: int) -> Reference | None:
    batches = {_number(log.value("global_batch_size")) for log in entry.runs}
    batch = batches.pop()
    return None if batches or batch is None else reference_at(batch, points, num_runs)


@cache
def _points(name: str, benchmark: str) -> tuple[Point, ...]:
    """The reference's points under a heading of rules/reference_convergence.toml; none where there is none."""
    if not name:
        return ()
    tables = tomllib.loads((FOLDER / "reference_convergence.toml").read_text(encoding="utf-8"))
    return tuple(point_of(int(batch), counts) for batch, counts in tables[name].get(benchmark, {}).items())
