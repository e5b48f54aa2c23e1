# SPDX-License-Identifier: Apache-2.0
"""Errors of the prediction on public entries that it did not see, in four splits.

    trials = validate(entries, devices, convergence)
    summarize([trial for trial in trials if trial.split == "device"])

Splits: the entry alone is held out, or all entries of its organization, its round, or its device. Questions: nothing
about the system is known (`blind`), its throughput was measured in the first two epochs of one run (`throughput
measured`), or its epochs are known (`epochs known`). Each prediction is compared with a baseline: the entry of the same
benchmark and device with the nearest number of ranks, its time scaled by the ranks.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles

from characterize.devices.device_table import Device
from characterize.models.prediction import Knowledge, Wanted, first_epochs, setting_of, team_of
from characterize.models.time_to_train import Prediction
from characterize.rounds.facts import EntryFacts

QUESTIONS = ("blind", "throughput measured", "epochs known")
SPLITS = ("entry", "organization", "round", "device")
COVERAGE = 0.9
"""Intended share of published times inside their intervals."""
NORMAL_WIDTH = 1.645
"""Width of a 90 % interval in spreads, if there is nothing to calibrate it with."""

Convergence = Callable[[str, str, int], Mapping[float, float]]
"""Mean epochs of the reference convergence points by batch size, for (round, benchmark, training samples)."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One entry that was held out, and its prediction from the other groups."""

    entry: EntryFacts
    split: str
    group: str
    """Entry, organization, round or device that was held out."""
    question: str
    prediction: Prediction | None
    """None if neither entries nor reference points tell the epochs."""
    baseline_minutes: float | None
    """None if no other entry has the benchmark."""
    interval: tuple[float, float] | None = None
    """Minutes; calibrated on the other groups."""

    @property
    def log_ratio(self) -> float:
        """Natural logarithm of predicted / published minutes."""
        assert self.prediction is not None
        return math.log(self.prediction.minutes.median / self.entry.minutes)

    @property
    def is_covered(self) -> bool:
        return self.interval is not None and self.interval[0] <= self.entry.minutes <= self.interval[1]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Errors of a group of trials. An error of 0.25 means 1.25 times too long or too short."""

    num_trials: int
    num_without_prediction: int
    median_error: float
    ninth_decile_error: float
    worst_error: float
    baseline_error: float | None
    """Median error of the baseline."""
    bias: float
    """Median of predicted / published."""
    coverage: float
    """Share of the intervals that contain the published time."""


def validate(entries: Sequence[EntryFacts], devices: Sequence[Device], convergence: Convergence) -> list[Trial]:
    """Trials of every time-to-train entry in every split and question, with calibrated intervals."""
    trials = []
    for split in SPLITS:
        made = list(_trials(split, entries, devices, convergence))
        for question in QUESTIONS:
            asked = [trial for trial in made if trial.question == question]
            trials += [calibrated(trial, asked) for trial in asked]
    return trials


def _trials(
    split: str, entries: Sequence[EntryFacts], devices: Sequence[Device], convergence: Convergence
) -> Iterable[Trial]:
    groups: dict[str, list[EntryFacts]] = {}
    for entry in entries:
        groups.setdefault(_group(entry, split, entries), []).append(entry)
    for group, held_out in groups.items():
        scored = [entry for entry in held_out if entry.metric == "time_to_train"]
        others = [entry for entry in entries if entry not in held_out]
        if scored and any(entry.metric == "time_to_train" for entry in others):
            knowledge = Knowledge.of(others, devices)
            for entry in scored:
                common = {"entry": entry, "split": split, "group": group, "baseline_minutes": baseline(entry, others)}
                reference = convergence(entry.round, entry.benchmark, entry.train_samples)
                for question in QUESTIONS:
                    wanted = question_about(entry, question, entries, devices, reference)
                    yield Trial(question=question, prediction=knowledge.predict(wanted), **common)


def _group(entry: EntryFacts, split: str, entries: Sequence[EntryFacts]) -> str:
    groups = {"entry": f"{entry.label} {entry.metric}", "round": entry.round, "device": entry.device}
    return groups[split] if split in groups else team_of(entry, entries)


def question_about(
    entry: EntryFacts,
    question: str,
    entries: Sequence[EntryFacts],
    devices: Sequence[Device],
    reference: Mapping[float, float],
) -> Wanted:
    """The facts of an entry that the question grants; its minutes are never among them."""
    return Wanted(
        setting=setting_of(entry, entries, devices),
        train_samples=entry.train_samples,
        convergence=reference,
        measured=first_epochs(entry) if question == "throughput measured" else None,
        epochs=entry.epochs if question == "epochs known" else None,
    )


def baseline(entry: EntryFacts, others: Sequence[EntryFacts]) -> float | None:
    """Minutes of the nearest entry of the benchmark, scaled by the ranks; on the same device if there is one."""
    similar = [other for other in others if (other.benchmark, other.metric) == (entry.benchmark, entry.metric)]
    near = [other for other in similar if other.device == entry.device] or similar
    if not near:
        return None

    def distance(other: EntryFacts) -> tuple[float, float]:
        ranks, batch = other.num_ranks / entry.num_ranks, other.global_batch_size / entry.global_batch_size
        return abs(math.log(ranks)), abs(math.log(batch))

    nearest = min(near, key=distance)
    return nearest.minutes * nearest.num_ranks / entry.num_ranks


def calibrated(trial: Trial, trials: Sequence[Trial]) -> Trial:
    """The trial with an interval whose width is calibrated on the other groups of its split."""
    if trial.prediction is None:
        return trial
    width = calibration(other for other in trials if other.group != trial.group)
    return replace(trial, interval=trial.prediction.minutes.interval(width))


def calibration(trials: Iterable[Trial]) -> float:
    """Width in spreads that an interval needs to contain COVERAGE of these trials' published times."""
    scores = sorted(abs(trial.log_ratio) / trial.prediction.minutes.spread for trial in trials if trial.prediction)
    if not scores:
        return NORMAL_WIDTH
    return scores[min(len(scores) - 1, math.ceil(COVERAGE * (len(scores) + 1)) - 1)]


def summarize(trials: Sequence[Trial]) -> Summary | None:
    """Errors of these trials; None if none has a prediction."""
    made = [trial for trial in trials if trial.prediction]
    if not made:
        return None
    errors = [math.exp(abs(trial.log_ratio)) - 1 for trial in made]
    ratios = [trial.baseline_minutes / trial.entry.minutes for trial in made if trial.baseline_minutes]
    baselines = [math.exp(abs(math.log(ratio))) - 1 for ratio in ratios]
    return Summary(
        num_trials=len(made),
        num_without_prediction=len(trials) - len(made),
        median_error=median(errors),
        ninth_decile_error=quantiles(errors, n=10, method="inclusive")[-1] if len(errors) > 1 else errors[0],
        worst_error=max(errors),
        baseline_error=median(baselines) if baselines else None,
        bias=math.exp(median(trial.log_ratio for trial in made)),
        coverage=sum(trial.is_covered for trial in made) / len(made),
    )
