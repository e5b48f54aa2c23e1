# SPDX-License-Identifier: Apache-2.0
"""Submission: a log, a result folder, an organization's tree or a round of several, as entries with their logs.

    submission = read(Path("acme"))
    for entry in submission.entries: entry.org, entry.system, entry.benchmark, entry.runs

Layouts (rules, "Submission tree"): results/<system>/<benchmark>/result_<i>.txt (v0.7) and
results/<system>/{strong,weak}/<benchmark>/result_<i>.txt with pruned_results/ beside throughput results. Links are
never followed, so that nothing outside PATH is read and no loop is walked; what is passed over is kept in `oddities`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from compliance import mllog
from compliance.files import toml
from compliance.mllog import RunLog, UnreadLog

SCALINGS = ("strong", "weak")
DIVISIONS = ("closed", "open", "hardware", "system", "free")
RESULT_NAME = re.compile(r"result_(\d{1,9})\.txt")
MAX_JSON_BYTES = 4 << 20
NO_ORGANIZATION = ""


class SubmissionError(ValueError):
    """PATH is nothing that can be read as a log or a submission."""


@dataclass(frozen=True, kw_only=True)
class SystemDescription:
    """systems/<system>.json."""

    path: Path
    values: dict[str, Any]
    """Empty where the file could not be read."""
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The runs of one benchmark on one system."""

    org: str
    """Folder name; empty for a log or a result folder that stands alone."""
    system: str
    benchmark: str
    scaling: str
    """strong (time to train) or weak (throughput)."""
    folder: Path
    runs: tuple[RunLog, ...]
    pruned: tuple[RunLog, ...] = ()
    """Logs of pruned_results/: compliant, but not scored."""
    description: SystemDescription | None = None
    is_single_log: bool = False
    """PATH was one log: what concerns several runs does not apply."""

    @property
    def label(self) -> str:
        """org/system/scaling/benchmark; what a log that stands alone does not tell is left out."""
        return "/".join(filter(None, (self.org, self.system, self.scaling, self.benchmark)))

    @property
    def logs(self) -> tuple[RunLog, ...]:
        return self.runs + self.pruned

    @property
    def division(self) -> str:
        """closed or open, under HPC AI500 hardware, system or free: the system description's word, else the logs'."""
        declared = self.description.values.get("division") if self.description else None
        logged = (log.value("submission_division") for log in self.logs)
        for word in chain((declared,), logged):  # the declared one spares reading the logs
            if isinstance(word, str) and word.lower() in DIVISIONS:
                return word.lower()
        return DIVISIONS[0]


@dataclass(frozen=True)
class Oddity:
    """Something in the tree that belongs to no entry, or could not be read."""

    path: Path
    kind: str
    """unknown_folder, unknown_file, link, not_a_file, empty_folder; unreadable, which reading a log shows."""


@dataclass(kw_only=True)
class Organization:
    """One organization's tree."""

    name: str
    folder: Path
    entries: list[Entry] = field(default_factory=list)
    descriptions: dict[str, SystemDescription] = field(default_factory=dict)
    result_systems: list[str] = field(default_factory=list)
    """Folders of results/."""


@dataclass(kw_only=True)
class Submission:
    """What PATH holds."""

    root: Path
    kind: str
    """log, folder, organization or round."""
    organizations: list[Organization] = field(default_factory=list)
    oddities: list[Oddity] = field(default_factory=list)
    declared: dict[str, Any] = field(default_factory=dict)
    """submission.toml at PATH's root."""

    @property
    def entries(self) -> list[Entry]:
        return [entry for organization in self.organizations for entry in organization.entries]

    @property
    def has_scaling_folders(self) -> bool:
        return any(entry.folder.parent.name in SCALINGS for entry in self.entries)


def read(path: Path) -> Submission:
    """Look what PATH holds; SubmissionError where it is nothing that could hold logs.

    The logs of a folder are read when they are first asked for what they hold.
    """
    if not path.exists():
        raise SubmissionError(f"{path}: no such file or folder")
    if path.is_file():
        return _single_log(path)
    submission = Submission(root=path, kind="folder", declared=_read_declared(path))
    if (path / "results").is_dir():
        submission.kind = "organization"
        submission.organizations.append(_organization(path, submission.oddities))
    elif organizations := [child for child in _folders(path, submission.oddities) if (child / "results").is_dir()]:
        submission.kind = "round"
        submission.organizations += [_organization(child, submission.oddities) for child in organizations]
    elif any(RESULT_NAME.fullmatch(child.name) for child in _children(path)):
        submission.oddities.clear()
        submission.organizations.append(_result_folder(path, submission.oddities))
    else:
        raise SubmissionError(
            f"{path}: found neither results/, nor organizations with results/, nor result_<i>.txt; "
            "expected a log, a result folder, an organization's submission or a round"
        )
    return submission


def _read_declared(root: Path) -> dict[str, Any]:
    file = root / "submission.toml"
    if file.is_symlink() or not file.is_file():
        return {}
    try:
        return toml.load(file)
    except (OSError, ValueError) as error:
        raise SubmissionError(f"{file}: not a readable TOML file: {error}") from error


def _single_log(path: Path) -> Submission:
    log = mllog.read(path)
    if log.error:
        raise SubmissionError(f"{path}: {log.error}")
    org, system, scaling = _place(path.parent)
    benchmark = log.value("submission_benchmark")
    entry = Entry(
        org=org,
        system=system,
        benchmark=benchmark if isinstance(benchmark, str) else path.parent.name,
        scaling=scaling,
        folder=path.parent,
        runs=(log,),
        is_single_log=True,
    )
    return Submission(root=path, kind="log", organizations=[Organization(name=org, folder=path, entries=[entry])])


def _result_folder(folder: Path, oddities: list[Oddity]) -> Organization:
    org, system, scaling = _place(folder)
    entry = _entry(folder, org=org, system=system, scaling=scaling, description=None, oddities=oddities)
    return Organization(name=org, folder=folder, entries=[entry])


def _place(folder: Path) -> tuple[str, str, str]:
    """(organization, system, scaling) that a result folder's own parents tell."""
    parents = folder.absolute().parts
    scaling = parents[-2] if len(parents) > 1 and parents[-2] in SCALINGS else None
    rest = parents[:-2] if scaling else parents[:-1]
    if len(rest) >= 3 and rest[-2] == "results":
        return rest[-3], rest[-1], scaling or "strong"
    return NO_ORGANIZATION, "", scaling or "strong"


def _organization(folder: Path, oddities: list[Oddity]) -> Organization:
    organization = Organization(name=folder.absolute().name, folder=folder)
    for file in _children(folder / "systems"):
        if file.suffix == ".json":
            organization.descriptions[file.stem] = _description(file)
    for system_folder in _folders(folder / "results", oddities):
        organization.result_systems.append(system_folder.name)
        for scaling, benchmark_folder in _benchmark_folders(system_folder, oddities):
            entry = _entry(
                benchmark_folder,
                org=organization.name,
                system=system_folder.name,
                scaling=scaling,
                description=organization.descriptions.get(system_folder.name),
                oddities=oddities,
            )
            organization.entries.append(entry)
    return organization


def _benchmark_folders(system_folder: Path, oddities: list[Oddity]) -> Iterator[tuple[str, Path]]:
    for child in _folders(system_folder, oddities):
        if child.name in SCALINGS:
            for grandchild in _folders(child, oddities):
                yield child.name, grandchild
        else:
            yield "strong", child


def _entry(folder: Path, *, org, system, scaling, description, oddities: list[Oddity]) -> Entry:
    return Entry(
        org=org,
        system=system,
        benchmark=folder.absolute().name,
        scaling=scaling,
        folder=folder,
        runs=tuple(_logs(folder, oddities, known_folders=("pruned_results", "power"))),
        pruned=tuple(_logs(folder / "pruned_results", oddities)) if (folder / "pruned_results").is_dir() else (),
        description=description,
    )


def _logs(folder: Path, oddities: list[Oddity], known_folders: tuple[str, ...] = ()) -> list[UnreadLog]:
    """The folder's result_<i>.txt in the order of i."""
    numbered = []
    for child in _children(folder):
        match = RESULT_NAME.fullmatch(child.name)
        if child.is_symlink():
            oddities.append(Oddity(child, "link"))
        elif match and child.is_file():
            numbered.append((int(match.group(1)), child))
        elif match:
            oddities.append(Oddity(child, "not_a_file"))
        elif child.is_dir():
            if child.name not in known_folders:
                oddities.append(Oddity(child, "unknown_folder"))
        else:
            oddities.append(Oddity(child, "unknown_file"))
    if not numbered:
        oddities.append(Oddity(folder, "empty_folder"))
    return [UnreadLog(file) for _, file in sorted(numbered)]


def _description(file: Path) -> SystemDescription:
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            return SystemDescription(path=file, values={}, error=f"larger than {MAX_JSON_BYTES >> 20} MiB")
        values = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return SystemDescription(path=file, values={}, error=str(error))
    if not isinstance(values, dict):
        return SystemDescription(path=file, values={}, error="holds no JSON object")
    return SystemDescription(path=file, values=values)


def _children(folder: Path) -> list[Path]:
    """Sorted children; none where the folder is missing, a link, or cannot be listed."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError:
        return []


def _folders(folder: Path, oddities: list[Oddity]) -> list[Path]:
    """Sorted real subfolders; links are noted, files are not (READMEs stand anywhere)."""
    children = _children(folder)
    oddities += [Oddity(child, "link") for child in children if child.is_symlink()]
    return [child for child in children if child.is_dir() and not child.is_symlink()]
