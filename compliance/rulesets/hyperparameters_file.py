# SPDX-License-Identifier: Apache-2.0
"""A hyperparameters.toml, read and checked against the rules that it names, without the training code.

file = read(Path("cosmoflow/configs/closed/hyperparameters.toml"))
file.values, list(faults(file))

rules = "mlperf_hpc_3.0"
division = "closed"
[hyperparameters]            # what a reviewer may borrow, as a group
opt_base_learning_rate = 0.001
[batch]                      # not borrowed
global_batch_size = 64
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.files import toml
from compliance.files.errors import UserError, nearest
from compliance.rulesets import ruleset
from compliance.rulesets.constraint import Constraint
from compliance.rulesets.ruleset import Benchmark, RuleSet, RuleSetError
from compliance.rulesets.schedule import schedule_faults

KEYS = ("rules", "division", "hyperparameters", "batch", "borrowed")
ANY_KEY = ("open", "free")
"""Divisions whose files may hold keys that the rules do not list."""
SCHEDULES = {
    "imagenet_resnet": ("cosine", "linear", "quadratic", "step"),
    "ewa_fasterrcnn": ("step", "cosine"),
}
"""Schedules that the train commands know; HPC AI500 leaves the learning-rate policy free."""


@dataclass(frozen=True, kw_only=True)
class HyperparametersFile:
    """The tables of one file and the rules that it names."""

    path: Path
    rules: RuleSet
    benchmark: Benchmark
    division: str
    """A division of the rule set: closed or open; hardware, system or free under HPC AI500."""
    hyperparameters: Mapping[str, Any]
    batch: Mapping[str, Any]
    borrowed: Mapping[str, Any]
    """lender, path and sha256 if the hyperparameters are another submitter's."""

    @property
    def values(self) -> dict[str, Any]:
        """The keys of both tables; a key that appears in both is a fault."""
        return {**self.hyperparameters, **self.batch}


def read(path: Path, benchmark: str | None = None) -> HyperparametersFile:
    """Read a file. Raises UserError if it names no existing rule set, division or benchmark."""
    tables = toml.load(path)
    if "system" in tables:
        raise UserError(f"{path}: found [system], expected a hyperparameters.toml; [system] belongs to system.toml")
    for key in tables:
        if key not in KEYS:
            raise UserError(f"{path}: {key}: unknown key; {nearest(key, KEYS)}")
    for key in KEYS[2:]:
        if not isinstance(tables.get(key, {}), dict):
            raise UserError(f"{path}: {key}: found {tables[key]!r}, expected a table [{key}]")
    if not any("global_batch_size" in tables.get(table, {}) for table in ("hyperparameters", "batch")):
        raise UserError(
            f"{path}: [batch] global_batch_size: missing, and it has no default; add the table [batch] with "
            "global_batch_size = N, the samples of an optimizer step over all ranks"
        )
    rules = _rules(tables, path)
    if tables.get("division") not in list(rules.values["divisions"]):
        expected = f"expected one of {', '.join(rules.values['divisions'])} ({rules.file_name})"
        raise UserError(f"{path}: division: found {tables.get('division')!r}, {expected}")
    return HyperparametersFile(
        path=path,
        rules=rules,
        benchmark=rules.benchmark(benchmark or _benchmark_of(path, rules)),
        division=tables["division"],
        hyperparameters=tables.get("hyperparameters", {}),
        batch=tables.get("batch", {}),
        borrowed=tables.get("borrowed", {}),
    )


def _rules(tables: Mapping[str, Any], path: Path) -> RuleSet:
    try:
        return ruleset.load(str(tables.get("rules", "")))
    except RuleSetError as error:
        raise UserError(f"{path}: rules: {error}") from None


def _benchmark_of(path: Path, rules: RuleSet) -> str:
    """Name of the nearest folder above the file that is a benchmark's name."""
    for folder in path.absolute().parts[::-1]:
        if folder in rules.values["benchmarks"]:
            return folder
    known = ", ".join(sorted(rules.values["benchmarks"]))
    raise UserError(f"{path}: no folder above it has a benchmark's name; give --benchmark NAME, one of {known}")


def faults(file: HyperparametersFile) -> Iterator[str]:
    """Breaches of the rules: keys that a strict division does not list, and values that are not allowed."""
    for key in file.hyperparameters.keys() & file.batch.keys():
        yield f"{key}: found in [hyperparameters] and in [batch], expected in one of them"
    allowed = constraints(file)
    where = f"{file.rules.file_name}, {file.benchmark.name} {file.division}"
    for key, value in file.values.items():
        if key in allowed:
            constraint = allowed[key] if allowed[key].applies(file.values) else Constraint(type=allowed[key].type)
            if not constraint.accepts(value):
                yield f"{key}: found {value!r}, expected {constraint.describe()} ({where})"
        elif file.division not in ANY_KEY:
            yield f"{key}: the rules do not list it ({where}); {nearest(key, allowed)}"
    for key, found, expected in schedule_faults(file.values):
        yield f"{key}: found {found!r}, expected {expected}"
    yield from _policy_faults(file)


def _policy_faults(file: HyperparametersFile) -> Iterator[str]:
    """Learning-rate policies that the train commands do not have."""
    schedule, known = file.values.get("opt_learning_rate_schedule"), SCHEDULES.get(file.benchmark.name, ())
    if schedule is not None and known and schedule not in known:
        yield f"opt_learning_rate_schedule: found {schedule!r}, expected one of {', '.join(known)}"
    steps = ("opt_learning_rate_decay_boundary_epochs", "opt_learning_rate_decay_factor")
    if file.benchmark.name == "imagenet_resnet" and (schedule == "step") != all(key in file.values for key in steps):
        yield f"{', '.join(steps)}: expected both with the schedule 'step', and neither with another"


def constraints(file: HyperparametersFile) -> dict[str, Constraint]:
    """Constraints by key: of every log, of the benchmark, and of the division's hyperparameters."""
    common = {key: Constraint.from_toml(words) for key, words in file.rules.values["keys"].items()}
    return {**common, **file.benchmark.keys(), **file.benchmark.hyperparameters(file.division)}
