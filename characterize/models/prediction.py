# SPDX-License-Identifier: Apache-2.0
"""Predict time to train from public entries: their epochs, throughput and staging.

    knowledge = Knowledge.of(entries, devices)
    knowledge.predict(Wanted(setting=setting, train_samples=524288, convergence=reference_epochs("2.0", "cosmoflow")))

Epochs come from entries that train on the same data and from the reference convergence points. They do not depend on
the system, so runs of throughput entries count too. Their throughput and staging do not: many instances ran at the same
time and shared the file system and the network. Pure functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from characterize.devices.device_table import Device, find_device_named
from characterize.models.staging import StagingModel, staging_model
from characterize.models.throughput import Setting, ThroughputModel, throughput_model
from characterize.models.time_to_train import RUN_TO_RUN, EpochCurve, Estimate, Prediction, time_to_train
from characterize.rounds.facts import SECONDS_PER_MINUTE, EntryFacts

MEASURED_SPREAD = 0.05
"""Spread of a throughput that was measured on the system itself."""


@dataclass(frozen=True, kw_only=True)
class MeasuredThroughput:
    """Throughput of the system itself, for example from the first two epochs of one run."""

    samples_per_s: float
    """Training samples per second of all ranks after the first epoch, evaluation included."""
    startup_minutes: float = 0.0
    """Extra time of the first epoch."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A time to train to predict."""

    setting: Setting
    train_samples: int
    convergence: Mapping[float, float] = field(default_factory=dict)
    """Mean epochs of the reference convergence points, by batch size."""
    measured: MeasuredThroughput | None = None
    """None: the throughput is predicted."""
    epochs: float | None = None
    """None: the epochs are predicted."""


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """Entries, and the models fitted to them."""

    entries: tuple[EntryFacts, ...]
    throughput: ThroughputModel
    staging: StagingModel

    @classmethod
    def of(
        cls,
        entries: Sequence[EntryFacts],
        devices: Sequence[Device],
        own: Sequence[tuple[Setting, MeasuredThroughput]] = (),
    ) -> "Knowledge":
        """Fit the models to the entries and to throughputs of one's own. Every device must be in the table."""
        alone = [(setting_of(entry, entries, devices), entry) for entry in entries if entry.metric == "time_to_train"]
        throughputs = [(setting, entry.samples_per_s) for setting, entry in alone]
        throughputs += [(setting, measured.samples_per_s) for setting, measured in own]
        return cls(
            entries=tuple(entries),
            throughput=throughput_model(throughputs),
            staging=staging_model([(setting, entry.staging_minutes) for setting, entry in alone]),
        )

    def epoch_curve(self, wanted: Wanted) -> EpochCurve | None:
        """Epochs over batch size for the wanted benchmark and data; None if nothing is known."""
        similar = [one for one in self.entries if one.trains_like(wanted.setting.benchmark, wanted.train_samples)]
        pairs = [(float(entry.global_batch_size), entry.epochs) for entry in similar]
        pairs += wanted.convergence.items()
        return EpochCurve.of(pairs) if pairs else None

    def predict(self, wanted: Wanted) -> Prediction | None:
        """Predicted time to train; None if the epochs are unknown."""
        epochs = self._epochs(wanted)
        if epochs is None:
            return None
        measured, setting = wanted.measured, wanted.setting
        if measured:
            throughput = Estimate(median=measured.samples_per_s, spread=MEASURED_SPREAD)
        else:
            throughput = self.throughput.at(setting)
        return time_to_train(
            epochs,
            throughput,
            samples_per_epoch=wanted.train_samples,
            staging_minutes=self.staging.at(setting),
            startup_minutes=measured.startup_minutes if measured else 0.0,
        )

    def _epochs(self, wanted: Wanted) -> Estimate | None:
        if wanted.epochs is not None:
            return Estimate(median=wanted.epochs, spread=RUN_TO_RUN)
        curve = self.epoch_curve(wanted)
        return curve.at(wanted.setting.global_batch_size) if curve else None


def first_epochs(entry: EntryFacts) -> MeasuredThroughput | None:
    """The throughput that the first two epochs of one of the entry's runs show; None if it had fewer than three."""
    if not entry.second_epoch_s:
        return None
    startup_s = max(0.0, entry.first_epoch_s - entry.second_epoch_s)
    return MeasuredThroughput(
        samples_per_s=entry.train_samples / entry.second_epoch_s, startup_minutes=startup_s / SECONDS_PER_MINUTE
    )


def setting_of(entry: EntryFacts, entries: Sequence[EntryFacts], devices: Sequence[Device]) -> Setting:
    """Conditions of an entry's throughput; `entries` tell which organizations are one team."""
    return Setting(
        benchmark=entry.benchmark,
        device=find_device_named(entry.device, devices),
        round=entry.round,
        year=entry.year,
        team=team_of(entry, entries),
        num_ranks=entry.num_ranks,
        global_batch_size=entry.global_batch_size,
    )


def team_of(entry: EntryFacts, entries: Sequence[EntryFacts]) -> str:
    """Name of the entry's team: organizations that submitted together, for example Fujitsu+RIKEN, are one."""
    names = set(entry.organization.lower().split("+"))
    for other in entries:
        together = set(other.organization.lower().split("+"))
        if names & together:
            names |= together
    return "+".join(sorted(names))
