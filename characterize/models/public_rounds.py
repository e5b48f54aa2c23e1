# SPDX-License-Identifier: Apache-2.0
"""Observation: what one entry of a public round says of epochs, throughput and staging, read through compliance.

    for observation in observations(results_folder()): ...

Only time-to-train entries: throughput entries share a system among many instances.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from characterize.models.throughput import Setting
from characterize.results.result import CharacterizeError
from compliance.checks import rules_for
from compliance.mllog import RunLog
from compliance.rulesets import ruleset
from compliance.rulesets.ruleset import Benchmark, RuleSet
from compliance.scoring.phases import run_phases
from compliance.scoring.reference_convergence import point_of, reference_counts
from compliance.scoring.run_metrics import converged
from compliance.scoring.score import score_entry
from compliance.submissions import reader
from compliance.submissions.reader import Entry

ROUND_NAME = re.compile(r".*v(\d+\.\d+)")
FAMILIES = ("P100", "V100", "A100", "H100", "H200", "B200", "MI100", "MI250X", "MI300", "RTX 5000", "A64FX", "Phi")
RECIPE_TOLERANCE = 0.01
"""Relative difference of training samples within which two entries train the same thing."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One entry, averaged over its converged runs."""

    round: str
    """Rules version, such as 2.0."""
    org: str
    system: str
    division: str
    setting: Setting
    train_samples: int
    epochs: float
    throughput: float
    """Training samples per second, evaluation, pauses and all: what turns epochs into time."""
    staging_minutes: float
    minutes: float
    """The entry's score."""

    @property
    def label(self) -> str:
        return f"v{self.round} {self.org}/{self.system} {self.setting.benchmark}"

    def same_recipe(self, other: "Observation") -> bool:
        """Whether epochs of one tell about the other: same benchmark on as many samples.

        CosmoFlow of v0.7 trained another network on half the samples; DeepCAM stayed the same through all rounds.
        """
        near = math.isclose(self.train_samples, other.train_samples, rel_tol=RECIPE_TOLERANCE)
        return near and self.setting.benchmark == other.setting.benchmark


def results_folder(given: Path | None = None) -> Path:
    """`given`, else HPC_RESULTS, else shared/results beside the project; CharacterizeError where it is no folder."""
    root = Path(__file__).parents[2]
    folder = given or Path(os.environ.get("HPC_RESULTS") or root.parent / "shared" / "results")
    if not folder.is_dir():
        raise CharacterizeError(f"{folder}: no such folder; name the public rounds' logs by --results or HPC_RESULTS")
    return folder


def observations(folder: Path) -> list[Observation]:
    """Of every round in the folder: subfolders whose names end in v<version>."""
    found = [one for round_folder in sorted(folder.iterdir()) for one in _round(round_folder)]
    if not found:
        raise CharacterizeError(f"{folder}: found no round; expected folders such as hpc_results_v2.0 with entries")
    return found


def reference_epochs(version: str, benchmark: str) -> dict[float, float]:
    """Mean epochs of the reference convergence points by batch size; none for v0.7, which had none."""
    counts = reference_counts(f"mlperf_hpc_{version}").get(benchmark, {})
    return {batch: point_of(batch, values).mean for batch, values in counts.items()}


def device_family(name: str) -> str:
    """The part of a device's name that decides its speed; the whole name where it is not a known one."""
    return next((family for family in FAMILIES if family.lower() in name.lower()), name.strip())


def _round(folder: Path) -> Iterator[Observation]:
    match = ROUND_NAME.fullmatch(folder.name)
    if not (match and folder.is_dir()):
        return
    rules = ruleset.load(f"mlperf_hpc_{match[1]}")
    for entry in reader.read(folder).entries:
        limits = rules_for(entry, rules)
        if entry.scaling == "strong" and limits is not None:
            observation = _observe(entry, rules, match[1], score_entry(entry, limits).minutes)
            if observation is not None:
                yield observation


def _observe(entry: Entry, rules: RuleSet, version: str, minutes: float | None) -> Observation | None:
    """None where the entry has no score, or its logs do not say what is needed."""
    benchmark = rules.benchmark(entry.benchmark)
    runs = [_run(log) for log in entry.runs if converged(log, benchmark)]
    runs = [run for run in runs if run is not None]
    num_ranks, batch = _num_ranks(entry), _count(entry.runs[0], "global_batch_size")
    if minutes is None or not runs or not num_ranks or not batch:
        return None
    samples = _samples(entry, benchmark)
    epochs = fmean(run[0] for run in runs)
    return Observation(
        round=version,
        org=entry.org,
        system=entry.system,
        division=entry.division,
        setting=Setting(
            benchmark=entry.benchmark,
            device=_device(entry),
            era=version,
            num_ranks=num_ranks,
            global_batch_size=batch,
        ),
        train_samples=samples,
        epochs=epochs,
        throughput=epochs * samples / (60 * fmean(run[1] for run in runs)),
        staging_minutes=fmean(run[2] for run in runs),
        minutes=minutes,
    )


def _run(log: RunLog) -> tuple[int, float, float] | None:
    """(epochs begun, minutes without staging, staging minutes) of a run."""
    phases, epochs = run_phases(log), len(log.all("epoch_start"))
    if phases is None or not epochs:
        return None
    return epochs, phases.total_minutes - phases.staging_minutes, phases.staging_minutes


def _samples(entry: Entry, benchmark: Benchmark) -> int:
    logged = _count(entry.runs[0], "train_samples")
    if not logged:
        raise CharacterizeError(
            f"{entry.runs[0].path}: train_samples: not logged, so {benchmark.name} has no throughput"
        )
    return logged


def _num_ranks(entry: Entry) -> int:
    """Accelerators that trained, or nodes where there are none: what rounds count systems by."""
    described = entry.description.values if entry.description else {}
    per_node = _whole(described.get("accelerators_per_node"))
    num_nodes = _count(entry.runs[0], "number_of_nodes") or _whole(described.get("number_of_nodes"))
    return num_nodes * max(1, per_node)


def _device(entry: Entry) -> str:
    described = entry.description.values if entry.description else {}
    accelerated = _whole(described.get("accelerators_per_node")) > 0
    return device_family(str(described.get("accelerator_model_name" if accelerated else "host_processor_model_name")))


def _count(log: RunLog, key: str) -> int:
    return _whole(log.value(key))


def _whole(value: object) -> int:
    """0 where it is no whole number."""
    text = str(value).strip()
    return int(text) if text.isdecimal() else 0
