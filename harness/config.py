# SPDX-License-Identifier: Apache-2.0
"""The two TOML files of a configuration -> frozen dataclasses, checked against the rules before anything runs.

    settings = config.load(folder, hyperparameters_type=Hyperparameters, system_type=System)
    settings.hyperparameters.opt_base_learning_rate
    settings.rules.values["clock"]["staging"], settings.benchmark.target

hyperparameters.toml, which a reviewer may borrow as a group:

    rules = "mlperf_hpc_3.0"
    division = "closed"
    [hyperparameters]                # and [batch], apart: both fill the benchmark's Hyperparameters
    opt_base_learning_rate = 0.001
    [batch]
    global_batch_size = 64

system.toml, which belongs to the machine:

    [submission]
    org = "Example"
    platform = "4 nodes of 8 accelerators"
    status = "research"
    [system]                         # fills the benchmark's System
    num_workers = 4
    [layers]                         # HPC AI500 only: a line on each of its nine layers, for submission.toml
    ai_framework = "PyTorch 2.13"

A name is spelt once: the TOML key is the dataclass field, the key of the rules and the key of the event log.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from compliance.files import toml
from compliance.files.errors import UserError, nearest
from compliance.rulesets import hyperparameters_file, ruleset
from compliance.rulesets.constraint import Constraint
from compliance.rulesets.hyperparameters_file import HyperparametersFile
from harness.system_settings import ACCELERATOR_ONLY

WORDS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text in quotes",
    Path: "a path in quotes",
    dict: "a table",
}
"""Types of fields, for messages."""


class ConfigError(UserError):
    """A configuration file that cannot be used: the text names file, key, what was found and what is expected."""

    same_on_all_ranks = True


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Who submits what; the keys submission_* of the event log."""

    org: str
    """Organization, as it is to be published."""
    platform: str
    """The system in a few words."""
    status: str
    """cloud, onprem, preview, research or available."""
    poc_name: str = ""
    """Point of contact."""
    poc_email: str = ""
    """Address of the point of contact."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a run is told, from two files."""

    benchmark: ruleset.Benchmark
    """The benchmark under its rules: name, target, quality key, number of runs."""
    rules: ruleset.RuleSet
    """The rule set that hyperparameters.toml names."""
    division: str
    """One of the rule set's: closed or open, under HPC AI500 hardware, system or free."""
    hyperparameters: Any
    """The benchmark's Hyperparameters; every field is logged."""
    system: Any
    """The benchmark's System; belongs to the machine and leaves the mathematics alone."""
    submission: Submission
    hyperparameters_path: Path
    """File that the hyperparameters were read from."""
    system_path: Path
    """File that the system settings were read from."""
    layers: Mapping[str, str] = field(default_factory=dict)
    """Description of each layer of HPC AI500's model; empty in the other suite."""


@dataclass(frozen=True, kw_only=True)
class _SystemFile:
    submission: dict[str, Any]
    system: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)


def load(
    folder: Path | str,
    hyperparameters_path: Path | str | None = None,
    system_path: Path | str | None = None,
    *,
    hyperparameters_type: type,
    system_type: type,
    benchmark: str | None = None,
) -> Config:
    """Read folder/hyperparameters.toml and folder/system.toml, or the files given in their place.

    `benchmark` is the name in the rules; left out, the package that hyperparameters_type belongs to.
    Raises UserError, or ruleset.RuleSetError for a benchmark that the rules do not have.
    """
    benchmark = benchmark or hyperparameters_type.__module__.partition(".")[0]
    file = hyperparameters_file.read(Path(hyperparameters_path or Path(folder, "hyperparameters.toml")), benchmark)
    system_path = Path(system_path or Path(folder, "system.toml"))
    system_tables = _fill(_SystemFile, toml.load(system_path), system_path)
    config = Config(
        benchmark=file.benchmark,
        rules=file.rules,
        division=file.division,
        hyperparameters=_fill(hyperparameters_type, file.values, file.path, "[hyperparameters] "),
        system=_fill(system_type, system_tables.system, system_path, "[system] "),
        submission=_fill(Submission, system_tables.submission, system_path, "[submission] "),
        hyperparameters_path=file.path,
        system_path=system_path,
        layers=system_tables.layers,
    )
    check(config, file)
    return config


def logged_values(hyperparameters: Any) -> dict[str, Any]:
    """The fields as the event log and the rules know them: a tuple is a list, None is absent."""
    values = {item.name: getattr(hyperparameters, item.name) for item in fields(hyperparameters)}
    present = {key: value for key, value in values.items() if value is not None}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in present.items()}


def check_shares(config: Config, num_shares: int, takers: str | None = None) -> None:
    """ConfigError where a global batch has no `num_shares` equal parts; `takers`: who takes them, if not ranks."""
    global_batch_size = config.hyperparameters.global_batch_size
    if global_batch_size % num_shares:
        raise ConfigError(
            f"{config.hyperparameters_path}: global_batch_size: {global_batch_size} samples cannot be shared equally "
            f"by {takers or f'{num_shares} ranks'}; use a multiple of {num_shares}"
        )


def check_device(config: Config, device_type: str) -> None:
    """Raise ConfigError if a setting needs an accelerator and the device is a CPU."""
    for name, values in ACCELERATOR_ONLY.items() if device_type == "cpu" else ():
        if (value := getattr(config.system, name)) in values:
            raise ConfigError(
                f"{config.system_path}: [system] {name}: found {value!r} on a CPU; it needs an accelerator"
            )


def check(config: Config, file: HyperparametersFile) -> None:
    """Raise ConfigError naming everything in which the configuration breaks its rules, the defaults included."""
    logged, allowed = logged_values(config.hyperparameters), hyperparameters_file.constraints(file)
    defaults = {key: logged[key] for key in allowed.keys() & logged.keys() - file.values.keys()}
    whole = replace(file, hyperparameters={**defaults, **file.hyperparameters})
    faults = [
        *(f"{config.system_path}: [submission] {fault}" for fault in _submission_faults(config)),
        *(f"{config.system_path}: [layers] {fault}" for fault in _layer_faults(config)),
        *(f"{config.hyperparameters_path}: {fault}" for fault in hyperparameters_file.faults(whole)),
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _submission_faults(config: Config) -> Iterator[str]:
    for name in ("org", "platform", "status"):
        constraint = Constraint.from_toml(config.rules.values["keys"][f"submission_{name}"])
        value = getattr(config.submission, name)
        if not constraint.accepts(value):
            yield f"{name}: found {value!r}, expected {constraint.describe()}"


def _layer_faults(config: Config) -> Iterator[str]:
    known = config.rules.values.get("layers", {})
    for name in config.layers.keys() - known.keys():
        yield f"{name}: no layer of {config.rules.name}; {nearest(name, known)}"


def _fill(kind: type, table: Mapping[str, Any], path: Path, section: str = "") -> Any:
    """An instance of the dataclass `kind` from a TOML table; every key must be a field and have its type."""
    known = {item.name: item for item in fields(kind)}
    for key in table:
        if key not in known:
            raise ConfigError(f"{path}: {section}{key}: unknown key; {nearest(key, known)}")
    for name, item in known.items():
        if name not in table and item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"{path}: {section}{name}: missing")
    hints = get_type_hints(kind, include_extras=True)
    values = {key: _convert(value, hints[key], f"{path}: {section}{key}") for key, value in table.items()}
    try:
        return kind(**values)
    except ValueError as error:  # a dataclass may check itself in __post_init__
        raise ConfigError(f"{path}: {section}{error}") from None


def _convert(value: Any, hint: Any, where: str) -> Any:
    try:
        return msgspec.convert(_whole(value), hint, dec_hook=_to_path)
    except msgspec.ValidationError:
        raise ConfigError(f"{where}: found {value!r}, expected {in_words(hint)}") from None


def in_words(hint: Any) -> str:
    """The type of a field as messages print it: "one of 'fp32', 'bf16'", "an integer at least 1"."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is Annotated:
        return f"{in_words(parts[0])} {' '.join(_bounds(parts[1]))}"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, parts))
    if get_origin(hint) is tuple:
        return f"a list; each item: {in_words(parts[0])}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(in_words(part) for part in parts if not (part is int and float in parts))
    return WORDS[get_origin(hint) or hint]


def _bounds(meta: msgspec.Meta) -> Iterator[str]:
    for word, bound in (("at least", meta.ge), ("at most", meta.le), ("above", meta.gt), ("below", meta.lt)):
        if bound is not None:
            yield f"{word} {bound:g}"


def _whole(value: Any) -> Any:
    """The value with 64.0 as 64: the rules take both for an integer, and a type of numbers takes integers."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_path(kind: type, value: Any) -> Path:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
