# SPDX-License-Identifier: Apache-2.0
"""Predict each public entry from all others (leave one out), and say by how much that is wrong.

    trials = leave_one_out(observations(folder))
    summarise(trials)[ALL]                              # typical error, and how often the interval held the truth

Three questions, since they are asked in practice: nothing of the system is known (`blind`), its throughput was measured
in a few minutes (`throughput known`, as the MLPerf HPC paper suggests), or its epochs were (`epochs known`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from characterize.models.public_rounds import Observation, reference_epochs
from characterize.models.throughput import ThroughputModel
from characterize.models.time_to_train import RUN_TO_RUN, EpochCurve, Estimate, Prediction, time_to_train

QUESTIONS = ("blind", "throughput known", "epochs known")
KNOWN_THROUGHPUT = 0.03
"""Spread of a throughput that was measured on the system itself."""
COVERAGE = 0.9
"""Share of truths that an interval is meant to hold."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One entry that was held out, and what the others say of it."""

    observation: Observation
    question: str
    prediction: Prediction | None
    """None where no other entry and no reference point tells its epochs."""
    interval: tuple[float, float] | None = None
    """Minutes; calibrated on the other entries."""
    device_is_new: bool = False
    """No other entry ran on such a device."""

    @property
    def log_ratio(self) -> float:
        """Natural logarithm of predicted / published minutes."""
        return math.log(self.prediction.minutes.median / self.observation.minutes)

    @property
    def within(self) -> bool:
        return self.interval is not None and self.interval[0] <= self.observation.minutes <= self.interval[1]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Errors of a group of trials."""

    num_trials: int
    median_error: float
    """Median of |predicted / published - 1|, symmetric: 0.25 is 1.25 times too long or too short."""
    worst_error: float
    bias: float
    """Median of predicted / published."""
    coverage: float
    """Share of the intervals that held the published time."""


def predict(known: Sequence[Observation], wanted: Observation, question: str = "blind") -> Prediction | None:
    """What `known` says of `wanted`: only its setting, its samples and what the question grants are looked at."""
    curve = epoch_curve(known, wanted)
    if question == "epochs known":
        epochs = Estimate(median=wanted.epochs, spread=RUN_TO_RUN)
    elif curve is None:
        return None
    else:
        epochs = curve.at(wanted.setting.global_batch_size)
    if question == "throughput known":
        throughput = Estimate(median=wanted.throughput, spread=KNOWN_THROUGHPUT)
    else:
        throughput = throughput_model(known).at(wanted.setting)
    return time_to_train(
        epochs, throughput, samples_per_epoch=wanted.train_samples, staging_minutes=typical_staging(known, wanted)
    )


def throughput_model(known: Iterable[Observation]) -> ThroughputModel:
    return ThroughputModel.fit([(one.setting, one.throughput) for one in known])


def epoch_curve(known: Iterable[Observation], wanted: Observation) -> EpochCurve | None:
    """Other entries' epochs and the reference's own, of the same recipe; None where there are none."""
    pairs = [(one.setting.global_batch_size, one.epochs) for one in known if one.same_recipe(wanted)]
    pairs += list(reference_epochs(wanted.round, wanted.setting.benchmark).items())
    return EpochCurve.of(pairs) if pairs else None


def typical_staging(known: Iterable[Observation], wanted: Observation) -> float:
    """Median minutes of the same benchmark's entries: half of them do not stage, or do not log it."""
    minutes = [one.staging_minutes for one in known if one.setting.benchmark == wanted.setting.benchmark]
    return median(minutes) if minutes else 0.0


def leave_one_out(observations: Sequence[Observation]) -> list[Trial]:
    """A trial for every entry and question; intervals are calibrated without the entry that they are for."""
    trials = []
    for question in QUESTIONS:
        held_out = [_trial(observations, index, question) for index in range(len(observations))]
        trials += [_calibrated(held_out, index) for index in range(len(held_out))]
    return trials


def calibration(trials: Iterable[Trial]) -> float:
    """How many of its own spreads an interval must reach to hold COVERAGE of these trials' truths."""
    scores = sorted(abs(one.log_ratio) / one.prediction.minutes.spread for one in trials if one.prediction)
    if not scores:
        return 1.645
    return scores[min(len(scores) - 1, math.ceil(COVERAGE * (len(scores) + 1)) - 1)]


def summarise(trials: Iterable[Trial]) -> Summary | None:
    """None of no trials."""
    made = [one for one in trials if one.prediction]
    if not made:
        return None
    errors = [math.exp(abs(one.log_ratio)) - 1 for one in made]
    return Summary(
        num_trials=len(made),
        median_error=median(errors),
        worst_error=max(errors),
        bias=math.exp(median(one.log_ratio for one in made)),
        coverage=sum(one.within for one in made) / len(made),
    )


def _trial(observations: Sequence[Observation], index: int, question: str) -> Trial:
    wanted = observations[index]
    others = [*observations[:index], *observations[index + 1 :]]
    return Trial(
        observation=wanted,
        question=question,
        prediction=predict(others, wanted, question),
        device_is_new=all(one.setting.device != wanted.setting.device for one in others),
    )


def _calibrated(trials: Sequence[Trial], index: int) -> Trial:
    trial = trials[index]
    if trial.prediction is None:
        return trial
    width = calibration([*trials[:index], *trials[index + 1 :]])
    return Trial(
        observation=trial.observation,
        question=trial.question,
        prediction=trial.prediction,
        interval=trial.prediction.minutes.interval(width),
        device_is_new=trial.device_is_new,
    )
