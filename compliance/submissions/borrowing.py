# SPDX-License-Identifier: Apache-2.0
"""Hyperparameter borrowing (MLPerf HPC rules): the hyperparameters of another entry, as a group, with one's own batch.

    borrowed = borrow(Path("round/acme/results/n64/strong/cosmoflow"), Path("hyperparameters.toml"))
    borrowed.text, borrowed.left_out

The lender is a result folder or a log, whose runs must agree, or a hyperparameters.toml. The borrowed file names the
lender, the file that holds the values, and that file's sha256:

    [borrowed]
    lender = "acme"
    path = "acme/results/n64/strong/cosmoflow/result_0.txt"
    sha256 = "..."

`check` verifies a borrowed file in benchmarks/<benchmark>/<system>/ against the lender's logs of the same round.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compliance.files import toml
from compliance.files.errors import UserError
from compliance.mllog import RunLog
from compliance.rulesets import hyperparameters_file
from compliance.rulesets.constraint import Constraint
from compliance.rulesets.hyperparameters_file import HyperparametersFile
from compliance.submissions import reader
from compliance.submissions.reader import Entry

# Local and global batch size and the batch-norm span may be one's own; accumulation only splits the batch.
BATCH_KEYS = frozenset(
    {
        *("global_batch_size", "local_batch_size", "batchnorm_group_size"),
        *("gradient_accumulation_steps", "gradient_accumulation_frequency"),
    }
)
NOT_HYPERPARAMETERS = frozenset({"seed"})
ROUND_PARTS = ("results", "benchmarks")


@dataclass(frozen=True, kw_only=True)
class Lender:
    """An entry whose hyperparameters are borrowed."""

    org: str
    benchmark: str
    file: Path
    """Log or hyperparameters.toml that holds the values."""
    values: Mapping[str, Any]
    """All values of the log, or the file's [hyperparameters]."""


@dataclass(frozen=True, kw_only=True)
class Borrowed:
    """The file that borrowing makes."""

    text: str
    left_out: tuple[str, ...]
    """Keys of one's own file that the lender does not have; the reference's defaults are used for them."""


def borrow(lender: Path, mine: Path, benchmark: str | None = None) -> Borrowed:
    """Combine the lender's hyperparameters with one's own batch. UserError if that breaks the rules of `mine`."""
    if lender.suffix == ".toml":
        own = hyperparameters_file.read(mine, benchmark)
        source = _lender_of_file(hyperparameters_file.read(lender, own.benchmark.name))
    else:
        entry = _only_entry(lender)
        own = hyperparameters_file.read(mine, benchmark or entry.benchmark)
        source = _lender_of_entry(entry, lendable_keys(own))
    if source.benchmark != own.benchmark.name:
        raise UserError(f"{lender}: an entry of {source.benchmark}, expected one of {own.benchmark.name} as {mine}")
    keys = [key for key in lendable_keys(own) if source.values.get(key) is not None]
    hyperparameters = {key: typed(source.values[key], hyperparameters_file.constraints(own).get(key)) for key in keys}
    borrowed = {"lender": source.org, "path": path_in_round(source.file), "sha256": sha256(source.file)}
    made = replace(own, hyperparameters=hyperparameters, borrowed=borrowed)
    if faults := list(hyperparameters_file.faults(made)):
        raise UserError(f"{lender}: not allowed by the rules of {mine}: {'; '.join(faults)}")
    left_out = tuple(key for key in own.hyperparameters if key not in hyperparameters)
    return Borrowed(text=text_of(made), left_out=left_out)


def lendable_keys(own: HyperparametersFile) -> list[str]:
    """The keys borrowed as a group: those that the division may tune and that the file sets, without batch and seed."""
    kept = BATCH_KEYS | NOT_HYPERPARAMETERS | own.batch.keys() | own.benchmark.keys().keys()
    tunable = own.benchmark.hyperparameters(own.division)
    return [key for key in dict.fromkeys((*tunable, *own.hyperparameters)) if key not in kept]


def typed(value: Any, constraint: Constraint | None) -> Any:
    """The value as an integer if the rules ask for one: some frameworks log 64.0 for 64."""
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole and constraint is not None and constraint.type == "integer" else value


def same(value: Any, other: Any) -> bool:
    """True if the values are equal in single precision."""
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(same, value, other))
    return value is not None and Constraint(equals=value).accepts(other)


def _only_entry(path: Path) -> Entry:
    entries = [entry for entry in reader.read(path).entries if entry.runs]
    if len(entries) != 1:
        folders = ", ".join(str(entry.folder) for entry in entries)
        raise UserError(f"{path}: holds {len(entries)} entries, expected one; name its result folder: {folders}")
    return entries[0]


def _lender_of_entry(entry: Entry, keys: list[str]) -> Lender:
    first = entry.runs[0]
    for key in keys:
        other = next((log for log in entry.runs if log.value(key) != first.value(key)), None)
        if other is not None:
            raise UserError(f"{other.path}: {key} is {other.value(key)!r}, not {first.value(key)!r} as in {first.path}")
    return Lender(
        org=entry.org or str(first.value("submission_org", "")),
        benchmark=entry.benchmark,
        file=first.path,
        values=first.values(),
    )


def _lender_of_file(file: HyperparametersFile) -> Lender:
    parts = path_in_round(file.path).split("/")
    org = parts[0] if len(parts) > 1 and parts[1] in ROUND_PARTS else file.path.absolute().parent.name
    return Lender(org=org, benchmark=file.benchmark.name, file=file.path, values=file.hyperparameters)


def path_in_round(file: Path) -> str:
    """The path from the organization's folder on; for a file outside a submission, the path as given."""
    parts = file.absolute().parts
    for index in range(len(parts) - 1, 0, -1):
        if parts[index] in ROUND_PARTS:
            return "/".join(parts[index - 1 :])
    return str(file)


def sha256(file: Path) -> str:
    from hashlib import file_digest  # loads OpenSSL, which few submissions need

    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()


def text_of(file: HyperparametersFile) -> str:
    """A hyperparameters file as TOML text."""
    lines = ["# Hyperparameters of another submitter, borrowed as a group; [batch] is our own."]
    lines += [f"rules = {toml.value(file.rules.name)}", f"division = {toml.value(file.division)}"]
    for name in ("hyperparameters", "batch", "borrowed"):
        lines += ["", f"[{name}]", *_lines(getattr(file, name))]
    return "\n".join(lines) + "\n"


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    return (f"{toml.key(key)} = {toml.value(value)}" for key, value in table.items())


def differences(expected: Mapping[str, Any], log: RunLog) -> Iterator[tuple[str, Any]]:
    """Keys with another value in the log, and that value; None for a key that the log does not have."""
    for key, value in expected.items():
        if not same(value, log.value(key)):
            yield key, log.value(key)
