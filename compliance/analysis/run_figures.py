# SPDX-License-Identifier: Apache-2.0
"""RunFigures: times, epochs and throughput of one run, read from its log."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from compliance.rulesets.ruleset import Benchmark
from compliance.run_log import RunLog
from compliance.scoring.phases import Phases, run_phases
from compliance.scoring.run_metrics import MS_PER_SECOND, evaluations

SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """One run that ended."""

    name: str
    """File name of the log."""
    day: date
    """Day of run_start, UTC."""
    phases: Phases
    num_epochs: int
    """Epochs that were started, the last one included."""
    num_evaluations: int
    train_samples: int | None
    """Samples of the training set; None if the log does not tell."""
    eval_samples: int | None
    """Samples of the validation set."""

    @property
    def minutes(self) -> float:
        """run_start to run_stop."""
        return self.phases.total_minutes

    @property
    def compute_minutes(self) -> float:
        """Training and evaluation: the paper's T_compute."""
        return self.phases.training_minutes + self.phases.evaluation_minutes

    @property
    def epoch_minutes(self) -> float | None:
        """T_epoch: compute time / epochs."""
        return self.compute_minutes / self.num_epochs if self.num_epochs else None

    @property
    def training_rate(self) -> float | None:
        """Training samples per second of training."""
        return _rate(self.train_samples, self.num_epochs, self.phases.training_minutes)

    @property
    def evaluation_rate(self) -> float | None:
        """Validation samples per second of evaluation."""
        return _rate(self.eval_samples, self.num_evaluations, self.phases.evaluation_minutes)

    @property
    def samples_per_epoch(self) -> int | None:
        """Training and validation samples together, each once."""
        if self.train_samples is None or self.eval_samples is None:
            return None
        return self.train_samples + self.eval_samples


def run_figures(log: RunLog, benchmark: Benchmark) -> RunFigures | None:
    """The figures of one run; None if it has no start or no end."""
    phases, start = run_phases(log), log.first("run_start")
    if phases is None or start is None:
        return None
    return RunFigures(
        name=log.path.name,
        day=datetime.fromtimestamp(start.time_ms / MS_PER_SECOND, UTC).date(),
        phases=phases,
        num_epochs=_num_epochs(log),
        num_evaluations=len(log.until_stop("eval_start")) or len(list(evaluations(log, benchmark))),
        train_samples=_count(log.value("train_samples")),
        eval_samples=_count(log.value("eval_samples")),
    )


def _num_epochs(log: RunLog) -> int:
    """Epochs that were started before run_stop; blocks say how many epochs they hold."""
    if starts := log.until_stop("epoch_start"):
        return len(starts)
    counts = [event.metadata.epoch_count if event.metadata else None for event in log.until_stop("block_start")]
    return sum(_count(count) or 1 for count in counts)


def _rate(samples: int | None, times: int, minutes: float) -> float | None:
    return samples * times / (minutes * SECONDS_PER_MINUTE) if samples and times and minutes > 0 else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 10**12 else None
