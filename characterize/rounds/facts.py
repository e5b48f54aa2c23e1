# SPDX-License-Identifier: Apache-2.0
"""EntryFacts: one entry of a round, averaged over its converged runs, and tables of them as CSV.

for facts in shipped(): facts.label, facts.num_ranks, facts.samples_per_s
"""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date
from importlib.resources import files
from pathlib import Path

import msgspec

from characterize.results.result import CharacterizeError
from compliance.files import atomic_write

SECONDS_PER_MINUTE = 60
DAYS_PER_YEAR = 365.25
RECIPE_TOLERANCE = 0.01
"""Relative difference of training samples up to which two entries train on the same data."""


@dataclass(frozen=True, kw_only=True)
class EntryFacts:
    """One entry of a round; times and rates are means over its converged runs."""

    round: str
    """Version of the rules, for example 2.0."""
    organization: str
    system: str
    division: str
    benchmark: str
    metric: str
    """time_to_train, or throughput if many instances ran at the same time."""
    date: str
    """Day of the first run, YYYY-MM-DD."""
    device: str
    """Name in the table of devices; of the accelerator, or of the processor if there are no accelerators."""
    num_ranks: int
    """Accelerators of one run, or its processors if there are no accelerators."""
    global_batch_size: int
    train_samples: int
    eval_samples: int
    num_runs: int
    """Converged runs."""
    epochs: float
    """Epochs up to run_stop; for OpenFold samples up to run_stop / train_samples."""
    epochs_deviation: float
    """Standard deviation over the runs."""
    minutes: float
    """Score of the entry."""
    compute_minutes: float
    """Time of a run without staging."""
    staging_minutes: float
    training_samples_per_s: float
    """Rate while training, evaluation excluded."""
    evaluation_samples_per_s: float
    """Rate while evaluating; 0 if the log does not say."""
    first_epoch_s: float
    """First epoch of the first run with its evaluation; 0 if the log has fewer than three epochs."""
    second_epoch_s: float
    """Second epoch of the same run."""

    @property
    def label(self) -> str:
        return f"v{self.round} {self.organization}/{self.system} {self.benchmark}"

    @property
    def samples_per_s(self) -> float:
        """Training samples per second of all ranks, evaluation and pauses included."""
        return self.epochs * self.train_samples / (SECONDS_PER_MINUTE * self.compute_minutes)

    @property
    def local_batch_size(self) -> float:
        """Samples per rank and step; below 1 if several ranks share a sample."""
        return self.global_batch_size / self.num_ranks

    @property
    def year(self) -> float:
        """Date as a number of years, for example 2021.75."""
        return date.fromisoformat(self.date).toordinal() / DAYS_PER_YEAR

    def trains_like(self, benchmark: str, train_samples: int) -> bool:
        """True if this entry's epochs apply to the benchmark on so many samples.

        CosmoFlow of v0.7 trained another network on half the samples; DeepCAM stayed the same in all rounds.
        """
        near = math.isclose(self.train_samples, train_samples, rel_tol=RECIPE_TOLERANCE)
        return near and self.benchmark == benchmark


def shipped() -> list[EntryFacts]:
    """Entries of MLPerf HPC v0.7, v1.0 and v2.0."""
    return read(Path(str(files("characterize").joinpath("rounds/entries.csv"))))


def read(path: Path) -> list[EntryFacts]:
    """Read a table. CharacterizeError names the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CharacterizeError(f"{path}: not a readable table of entries: {error}") from error
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [_row(path, number, row) for number, row in enumerate(rows, start=1)]


def write(path: Path, entries: Iterable[EntryFacts], comment: str) -> None:
    """Write a table with a comment in its first line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(EntryFacts)], lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        writer.writerow({name: _rounded(value) for name, value in asdict(entry).items()})
    atomic_write.write(path, f"# {comment}\n{text.getvalue()}")


def _rounded(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _row(path: Path, number: int, row: dict[str, str]) -> EntryFacts:
    try:
        return msgspec.convert(row, EntryFacts, strict=False)
    except msgspec.ValidationError as error:
        raise CharacterizeError(f"{path}: entry {number}: {error}; make the table again from logs") from error
