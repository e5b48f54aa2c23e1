# SPDX-License-Identifier: Apache-2.0
"""Predict time to train at another scale or on another device, with an interval and the error on public entries.

    python -m characterize predict --benchmark cosmoflow --accelerator A100 --ranks 64 128 256 --batches 128 256 512
    python -m characterize predict --benchmark deepcam --throughput 512:512=8800 512:1024=9000
    python -m characterize predict --benchmark cosmoflow --accelerator Ours --devices our_devices.toml
    python -m characterize predict --validate           # errors on public entries that the models did not see

time = staging + epochs(batch) x samples / throughput(ranks, batch). The entries of MLPerf HPC v0.7, v1.0 and v2.0 are
shipped; --logs adds other rounds. A throughput of one's own, from the second epoch of one run, makes the prediction
much better: give it as RANKS:BATCH=SAMPLES_PER_SECOND, or as a result of `scaling` with --measured. Other ranks and
batch sizes are then predicted from it. Ranks are accelerators, or processors if there are no accelerators.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure

from characterize.commands import validation_tables
from characterize.commands.own_throughput import from_scaling, from_texts
from characterize.devices.device_table import Device, find_device_named, known_devices
from characterize.models.prediction import Knowledge, MeasuredThroughput, Wanted, team_of
from characterize.models.throughput import Setting
from characterize.models.time_to_train import Prediction, fastest
from characterize.models.validation import COVERAGE, Trial, calibration, summarize, validate
from characterize.pictures.predictions import draw_choice
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import CharacterizeError, Result, unused_name
from characterize.results.tables import Table, percent, three_digits
from characterize.rounds import facts
from characterize.rounds.facts import EntryFacts
from characterize.rounds.from_logs import facts_of_rounds
from characterize.rounds.reference import reference_epochs

RANKS = (64, 128, 256, 512)
OWN = "own measurements"


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--benchmark", default="cosmoflow", metavar="NAME", help="benchmark of MLPerf HPC (%(default)s)")
    add("--accelerator", default="A100", metavar="NAME", help="device of the table, such as H100 (%(default)s)")
    add("--devices", type=Path, metavar="FILE", help="TOML file with devices of your own")
    add("--organization", metavar="NAME", help="assume code that is tuned as well as this organization's entries")
    add("--ranks", type=int, nargs="+", metavar="N", help=f"numbers of ranks to compare ({' '.join(map(str, RANKS))})")
    add("--batches", type=int, nargs="+", metavar="N", help="global batch sizes (default: those that converged)")
    add("--throughput", nargs="+", default=[], metavar="RANKS:BATCH=RATE", help="your own measurements, samples/s")
    add("--measured", type=Path, metavar="DIR", help="your own measurements: this folder's result of `scaling --full`")
    add("--samples", type=int, metavar="N", help="training samples per epoch (default: those of the last round)")
    add("--logs", type=Path, action="append", default=[], metavar="ROUND", help="add this round's logs; repeatable")
    add("--validate", action="store_true", help="only show the errors on public entries")


def measure(options: argparse.Namespace) -> Result:
    devices = known_devices(options.devices)
    known = _entries(options, devices)
    trials = validate(known, devices, reference_epochs)
    settings = {"num_entries": len(known), "rounds": sorted({entry.round for entry in known})}
    if options.validate:
        data = validation_tables.data(trials)
        return Result(name="predict_validation", verb="predict", settings=settings | {"validate": True}, data=data)
    question = _Question(options, known, devices, trials)
    settings |= question.settings()
    base = f"predict_{options.benchmark}_{settings['accelerator']}".replace(" ", "_")
    name = unused_name(options.output, base, settings)
    return Result(name=name, verb="predict", settings=settings, data=question.answer())


def _entries(options: argparse.Namespace, devices: tuple[Device, ...]) -> list[EntryFacts]:
    """The shipped entries and those of --logs."""
    known, left_out = facts_of_rounds(options.logs, devices, known=facts.shipped())
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    return known


class _Question:
    """The choices that the user compares, and what is known about them."""

    def __init__(
        self, options: argparse.Namespace, known: list[EntryFacts], devices: tuple[Device, ...], trials: list[Trial]
    ) -> None:
        self.options, self.known = options, known
        self.similar = [entry for entry in known if entry.benchmark == options.benchmark]
        if not self.similar:
            names = ", ".join(sorted({entry.benchmark for entry in known}))
            raise CharacterizeError(f"--benchmark: found {options.benchmark!r}, expected one of {names}")
        self.latest = max(self.similar, key=lambda entry: entry.year)
        self.samples = options.samples or self.latest.train_samples
        self.device = find_device_named(options.accelerator, devices)
        self.team = self._team()
        self.own = self._own()
        own = [(self._setting(pair), measured) for pair, measured in self.own.items()]
        self.knowledge = Knowledge.of(known, devices, own)
        self.pairs = self._pairs()
        self.trials = [trial for trial in trials if (trial.split, trial.question) == self._experience()]

    def settings(self) -> dict:
        names = ("benchmark", "organization", "throughput")
        own = {"accelerator": OWN if self.own else self.device.name, "samples": self.samples}
        pairs = {"choices": [list(pair) for pair in self.pairs]}
        return {name: getattr(self.options, name) for name in names} | own | pairs

    def answer(self) -> dict:
        predictions = {pair: self._predict(pair) for pair in self.pairs}
        best, width = fastest(predictions), calibration(self.trials)
        choices = [
            _choice_record(pair, prediction, width, is_fastest=pair == best)
            for pair, prediction in sorted(predictions.items())
        ]
        summary = summarize(self.trials)
        split, question = self._experience()
        experience = {"split": split, "question": question} | (asdict(summary) if summary else {})
        return {"choices": choices, "experience": experience, "device_is_new": self._device_is_new()}

    def _team(self) -> str:
        """Team of --organization, or of one's own measurements; empty if there is neither."""
        if self.options.throughput or self.options.measured:
            return OWN
        name = self.options.organization
        teams = {entry.organization.lower(): team_of(entry, self.known) for entry in self.known}
        if name is not None and name.lower() not in teams:
            organizations = ", ".join(sorted({entry.organization for entry in self.known}))
            raise CharacterizeError(f"--organization: found {name!r}, expected one of {organizations}")
        return teams[name.lower()] if name else ""

    def _own(self) -> dict[tuple[int, int], MeasuredThroughput]:
        """The user's own throughput by (ranks, batch); empty if there is none."""
        own = from_texts(self.options.throughput)
        if self.options.measured:
            own |= from_scaling(self.options.measured, self.options.benchmark, self.similar)
        return own

    def _experience(self) -> tuple[str, str]:
        """The split and the question of the validation that resemble this prediction."""
        if set(self.pairs) <= self.own.keys():
            return "organization", "throughput measured"
        if self._device_is_new():
            return "device", "blind"
        return ("entry" if self.team else "organization"), "blind"

    def _device_is_new(self) -> bool:
        return not self.own and self.device.name not in {entry.device for entry in self.known}

    def _pairs(self) -> list[tuple[int, int]]:
        """(ranks, batch) of the choices; CharacterizeError if a prediction would be a guess."""
        converged = self._converged_batches()
        ranks = self.options.ranks or RANKS
        batches = self.options.batches or [int(batch) for batch in converged]
        pairs = [(count, batch) for count in ranks for batch in batches]
        if self.own and not (self.options.ranks or self.options.batches):
            pairs = list(self.own)
        if min(min(pair) for pair in pairs) < 1:
            raise CharacterizeError("--ranks, --batches: expected whole numbers above 0")
        largest = max(batch for _, batch in pairs)
        if largest > max(converged):
            raise CharacterizeError(
                f"--batches: found {largest}; the largest batch size that converged for {self.options.benchmark} on "
                f"{self.samples} samples is {max(converged):g}, so the epochs beyond it are unknown"
            )
        # With fewer samples than ranks several ranks share a sample, and the public entries say little about that.
        usable = [(count, batch) for count, batch in pairs if count <= batch]
        if not usable:
            raise CharacterizeError(
                "--batches: every batch size is below the ranks; expected a sample per rank or more"
            )
        return usable

    def _converged_batches(self) -> tuple[float, ...]:
        curve = self.knowledge.epoch_curve(self._wanted((1, 1)))
        if curve is None:
            known = ", ".join(str(samples) for samples in sorted({entry.train_samples for entry in self.similar}))
            raise CharacterizeError(f"--samples: found {self.samples}; public entries trained on {known} samples")
        return curve.batches

    def _predict(self, pair: tuple[int, int]) -> Prediction:
        prediction = self.knowledge.predict(self._wanted(pair))
        assert prediction is not None, "the epochs of converged batch sizes are known"
        return prediction

    def _wanted(self, pair: tuple[int, int]) -> Wanted:
        return Wanted(
            setting=self._setting(pair),
            train_samples=self.samples,
            convergence=self._convergence(),
            measured=self.own.get(pair),
        )

    def _setting(self, pair: tuple[int, int]) -> Setting:
        return Setting(
            benchmark=self.options.benchmark,
            device=self.device,
            round=self.latest.round,
            year=self.latest.year,
            team=self.team,
            num_ranks=pair[0],
            global_batch_size=pair[1],
        )

    def _convergence(self) -> dict[float, float]:
        """Reference points of the last round, if the samples are those of its data set."""
        is_reference = self.latest.trains_like(self.options.benchmark, self.samples)
        return reference_epochs(self.latest.round, self.options.benchmark, self.samples) if is_reference else {}


def _choice_record(pair: tuple[int, int], prediction: Prediction, width: float, *, is_fastest: bool) -> dict:
    low, high = prediction.minutes.interval(width)
    return {
        "num_ranks": pair[0],
        "global_batch_size": pair[1],
        "minutes": prediction.minutes.median,
        "low": low,
        "high": high,
        "epochs": prediction.epochs.median,
        "throughput": prediction.throughput.median,
        "staging_minutes": prediction.staging_minutes,
        "is_fastest": is_fastest,
    }


def tables(result: Result) -> Iterator[Table]:
    if "choices" in result.data:
        yield _choice_table(result)
    else:
        yield from validation_tables.tables(result)


def _choice_table(result: Result) -> Table:
    settings = result.settings
    return Table(
        title=f"Time to train {benchmark_title(settings['benchmark'])} on {settings['accelerator']}",
        columns=("ranks", "batch", "minutes", "interval", "epochs", "samples/s", "staging (min)", ""),
        rows=[_choice_row(choice) for choice in result.data["choices"]],
        num_left=0,
        note=_note(result),
    )


def _note(result: Result) -> str:
    """How wrong such predictions were on public entries."""
    experience = result.data["experience"]
    text = f"samples/s include evaluation. Intervals aim at {COVERAGE:.0%}."
    if result.data["device_is_new"]:
        text += f" No public entry ran on {result.settings['accelerator']}; its speed is predicted from its peak rates."
    if "median_error" not in experience:
        return text
    errors = f"{percent(experience['median_error'])} (median), at worst {percent(experience['worst_error'])}"
    held_out = "each entry" if experience["split"] == "entry" else f"each {experience['split']}"
    return f"{text} With {held_out} of the public rounds held out, such predictions were wrong by {errors}."


def _choice_row(choice: dict) -> list[str]:
    interval = f"{three_digits(choice['low'])} to {three_digits(choice['high'])}"
    values = (choice["epochs"], choice["throughput"], choice["staging_minutes"])
    return [
        str(choice["num_ranks"]),
        str(choice["global_batch_size"]),
        three_digits(choice["minutes"]),
        interval,
        *map(three_digits, values),
        "fastest" if choice["is_fastest"] else "",
    ]


def figures(result: Result) -> dict[str, Figure]:
    if "choices" in result.data:
        return {result.name: draw_choice(result)}
    return validation_tables.figures(result)
