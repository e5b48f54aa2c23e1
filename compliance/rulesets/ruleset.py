# SPDX-License-Identifier: Apache-2.0
"""Rule sets: rules/*.toml, each extending one parent, resolved into values with the file that each comes from.

    ruleset = load("mlperf_hpc_3.0")
    ruleset.benchmark("cosmoflow").target.accepts(0.123)      # True
    ruleset.origin("clock", "staging")                        # "mlperf_hpc_3.0.toml"

Merging: a table merges with the parent's, a constraint (a table that holds a constraint word) replaces the parent's,
`{ removed = true }` removes an inherited key. Values are data, logic is Python: nothing is evaluated from strings.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import rules
from compliance.files.errors import UserError, nearest
from compliance.rulesets.constraint import CONSTRAINT_WORDS, Constraint

FOLDER = Path(rules.__file__).parent
NO_RULE_SET = frozenset({"base", "reference_convergence"})  # files of rules/ that are not rule sets


class RuleSetError(UserError):
    """A name that no rule set, or no benchmark of a rule set, has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """One benchmark under one rule set."""

    name: str
    suite: str
    """mlperf_hpc or hpc_ai500."""
    quality_key: str
    """Event-log key of the quality: eval_error or eval_accuracy."""
    target: Constraint
    possible: Constraint
    """Values that the quality can have."""
    num_runs: int
    """Runs that a time-to-train entry needs."""
    num_epochs: int | None
    """Fixed number of epochs (HPC AI500); None if a run trains to the target."""
    evaluation_every_epoch: bool
    convergence_unit: str
    """Unit of epoch_num and of the reference convergence points: epochs, or training samples (openfold)."""
    values: Mapping[str, Any]
    """The resolved table, for values without a field of their own."""

    @cache  # noqa: B019 (a benchmark lives as long as its rule set, which `load` keeps)
    def hyperparameters(self, division: str) -> dict[str, Constraint]:
        """The division's constraints by key; empty if it has none."""
        return {key: Constraint.from_toml(value) for key, value in self.values.get(division, {}).items()}

    @cache  # noqa: B019
    def keys(self) -> dict[str, Constraint]:
        """Constraints by key of every division: sample counts and other properties of the problem."""
        return {key: Constraint.from_toml(value) for key, value in self.values.get("keys", {}).items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleSet:
    """A rule set with its parents merged in."""

    name: str
    values: Mapping[str, Any]
    origins: Mapping[tuple[str, ...], str]
    """Path of keys -> name of the file that set the value."""

    @property
    def file_name(self) -> str:
        return f"{self.name}.toml"

    def origin(self, *path: str) -> str:
        """Name of the rule file that set the value at `path`; the rule set's own file if none did."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, self.file_name)

    @cache  # noqa: B019 (rule sets are few, and `load` keeps them)
    def keys(self) -> dict[str, Constraint]:
        """Constraints by key that apply to the logs of every benchmark."""
        return {key: Constraint.from_toml(words) for key, words in self.values["keys"].items()}

    @cache  # noqa: B019 (rule sets are few, and `load` keeps them)
    def benchmark(self, name: str) -> Benchmark:
        table = self.values["benchmarks"].get(name)
        if table is None:
            raise RuleSetError(f"{self.file_name}: no benchmark {name!r}; {nearest(name, self.values['benchmarks'])}")
        return Benchmark(
            name=name,
            suite=self.values["suite"],
            quality_key=table["quality_key"],
            target=Constraint.from_toml(table["target"]),
            possible=Constraint.from_toml(table["possible"]),
            num_runs=table["num_runs"],
            num_epochs=table.get("num_epochs"),
            evaluation_every_epoch=table["evaluation_every_epoch"],
            convergence_unit=table.get("convergence_unit", "epochs"),
            values=table,
        )


def names() -> list[str]:
    """Names that `load` accepts."""
    stems = (entry.name.removesuffix(".toml") for entry in FOLDER.iterdir() if entry.name.endswith(".toml"))
    return sorted(set(stems) - NO_RULE_SET)


@cache
def load(name: str) -> RuleSet:
    """Read a rule set and its parents. Raises RuleSetError, which names the nearest known one."""
    known = [*names(), *NO_RULE_SET]
    if name not in known:
        raise RuleSetError(f"no rule set {name!r}; {nearest(name, names())}")
    file_name = f"{name}.toml"
    values = tomllib.loads((FOLDER / file_name).read_text(encoding="utf-8"))
    parent_name = values.pop("extends", None)
    if parent_name is None:
        return RuleSet(name=name, values=values, origins=dict(_origins(values, file_name)))
    parent = load(parent_name)
    origins = dict(parent.origins)
    return RuleSet(name=name, values=_merge(parent.values, values, origins, file_name), origins=origins)


def _merge(parent: Mapping, child: Mapping, origins: dict, file_name: str, path: tuple[str, ...] = ()) -> dict:
    merged = dict(parent)
    for key, value in child.items():
        here = (*path, key)
        inherited = parent.get(key)
        if isinstance(value, dict) and isinstance(inherited, Mapping) and not is_constraint(value):
            merged[key] = _merge(inherited, value, origins, file_name, here)
            continue
        for known in [known for known in origins if known[: len(here)] == here]:
            del origins[known]
        if value == {"removed": True}:
            merged.pop(key, None)
            continue
        merged[key] = value
        origins.update(_origins({key: value}, file_name, path))
    return merged


def _origins(values: Mapping, file_name: str, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """(path, file name) of every leaf; a constraint is one leaf."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict) and value and not is_constraint(value):
            found += _origins(value, file_name, (*path, key))
        else:
            found.append(((*path, key), file_name))
    return found


def is_constraint(table: Mapping) -> bool:
    return bool(table) and all(key in CONSTRAINT_WORDS or key == "removed" for key in table)
