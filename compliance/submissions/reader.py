# SPDX-License-Identifier: Apache-2.0
"""Reads a log, a result folder, an organization's tree or a round of several as entries with their logs.

    submission = read(Path("acme"))
    for entry in submission.entries: entry.org, entry.system, entry.benchmark, entry.runs

Layouts (rules, "Submission tree"): results/<system>/<benchmark>/result_<i>.txt (v0.7) and
results/<system>/{strong,weak}/<benchmark>/result_<i>.txt with pruned_results/ beside throughput results. Links are
never followed, so that nothing outside PATH is read and no loop is walked; whatever is skipped is kept in `oddities`.
A file that cannot be read never ends the reading of the others.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from compliance import mllog
from compliance.files import json_file, toml
from compliance.files.errors import UserError
from compliance.files.regular_file import is_folder, is_regular
from compliance.mllog import ReadBudget, UnreadLog
from compliance.run_log import RunLog
from compliance.submissions.layout import DECLARATION

T = TypeVar("T")
SCALINGS = ("strong", "weak")
DIVISIONS = ("closed", "open", "hardware", "system", "free")
RESULT_NAME = re.compile(r"result_([0-9]{1,9})\.txt")
KNOWN_FOLDERS = ("pruned_results", "power")
SCALING_FILE = "scaling.json"  # written by the checker of mlperf-logging beside the results
MAX_JSON_BYTES = 256 << 10  # the largest public system description has 2.4 KB
MAX_DESCRIPTION_BYTES = 4 << 20  # of all of a submission's descriptions: as Python objects, JSON can grow twentyfold
NO_ORGANIZATION = ""


class SubmissionError(UserError):
    """PATH is not a log and not a submission."""


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A submission.toml: the rule set, and under HPC AI500 the layers of the system."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    """Empty if there is no such file, or it could not be read."""
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class SystemDescription:
    """systems/<system>.json."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    """Empty if the file could not be read."""
    error: str | None = None
    repeated: tuple[str, ...] = ()
    """Keys that the file gives more than once."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The runs of one benchmark on one system."""

    org: str
    """Folder name; empty for a log or a result folder outside a submission."""
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
    """PATH was one log: rules about several runs do not apply."""

    @property
    def label(self) -> str:
        """org/system/scaling/benchmark, without the parts that a log outside a submission does not tell."""
        return "/".join(filter(None, (self.org, self.system, self.scaling, self.benchmark)))

    @property
    def logs(self) -> tuple[RunLog, ...]:
        return self.runs + self.pruned

    def forget_logs(self) -> None:
        """Free the events of all logs; they are read again if they are needed."""
        for log in self.logs:
            if isinstance(log, UnreadLog):
                log.forget()

    @property
    def division(self) -> str:
        """closed or open, under HPC AI500 hardware, system or free: as described, else as logged."""
        declared = self.description.values.get("division") if self.description else None
        logged = (log.value("submission_division") for log in self.logs)
        for word in chain((declared,), logged):  # the declared one spares reading the logs
            if isinstance(word, str) and word.lower() in DIVISIONS:
                return word.lower()
        return DIVISIONS[0]


@dataclass(frozen=True)
class Oddity:
    """A file or folder that belongs to no entry, or could not be read."""

    path: Path
    kind: str
    """unknown_folder, unknown_file, link, not_a_file, empty_folder, unlisted_folder; unreadable: a log."""


@dataclass(kw_only=True)
class Organization:
    """One organization's tree."""

    name: str
    folder: Path
    entries: list[Entry] = field(default_factory=list)
    descriptions: dict[str, SystemDescription] = field(default_factory=dict)
    result_systems: list[str] = field(default_factory=list)
    """Names of the folders in results/."""
    declaration: Declaration = field(default_factory=lambda: Declaration(path=Path(DECLARATION)))
    """The submission.toml in the organization's folder."""


@dataclass(kw_only=True)
class Submission:
    """A log, a result folder, an organization's tree or a round."""

    root: Path
    kind: str
    """log, folder, organization or round."""
    organizations: list[Organization] = field(default_factory=list)
    oddities: list[Oddity] = field(default_factory=list)
    declaration: Declaration = field(default_factory=lambda: Declaration(path=Path(DECLARATION)))
    """The submission.toml at PATH's root."""
    memory: dict[str, Any] = field(default_factory=dict, repr=False)
    """Results that several rules need, by name."""

    def remembered(self, key: str, compute: Callable[[], T]) -> T:
        """The result of `compute`, which is called only the first time that this submission is asked for `key`."""
        if key not in self.memory:
            self.memory[key] = compute()
        return self.memory[key]

    @property
    def entries(self) -> list[Entry]:
        return [entry for organization in self.organizations for entry in organization.entries]

    @property
    def has_scaling_folders(self) -> bool:
        return any(entry.folder.parent.name in SCALINGS for entry in self.entries)


def read(path: Path) -> Submission:
    """Find out what PATH holds. SubmissionError if it cannot hold logs.

    The logs of a folder are read when their content is first needed.
    """
    if not path.exists():
        raise SubmissionError(f"{path}: no such file or folder")
    return _single_log(path) if not path.is_dir() else _Reader(path).submission()


def declaration(folder: Path) -> Declaration:
    """The submission.toml of a folder; one behind a link is not read."""
    path = folder / DECLARATION
    if not os.path.lexists(path):
        return Declaration(path=path)
    if not is_regular(path):
        return Declaration(path=path, error="is not a regular file")
    try:
        return Declaration(path=path, values=toml.load(path))
    except UserError as error:
        return Declaration(path=path, error=_reason(error, path))


def _single_log(path: Path) -> Submission:
    if not path.is_file():
        raise SubmissionError(f"{path}: is not a regular file; expected a log or a folder of logs")
    log = mllog.read(path)
    if log.error:
        raise SubmissionError(f"{path}: {log.error}")
    org, system, scaling = _place(path.parent)
    benchmark = log.value("submission_benchmark")
    entry = Entry(
        org=org,
        system=system,
        benchmark=benchmark if isinstance(benchmark, str) else path.absolute().parent.name,
        scaling=scaling,
        folder=path.parent,
        runs=(log,),
        is_single_log=True,
    )
    return Submission(root=path, kind="log", organizations=[Organization(name=org, folder=path, entries=[entry])])


def _place(folder: Path) -> tuple[str, str, str]:
    """(organization, system, scaling) as told by the parents of a result folder."""
    parents = folder.absolute().parts
    scaling = parents[-2] if len(parents) > 1 and parents[-2] in SCALINGS else None
    rest = parents[:-2] if scaling else parents[:-1]
    if len(rest) >= 3 and rest[-2] == "results":
        return rest[-3], rest[-1], scaling or "strong"
    return NO_ORGANIZATION, "", scaling or "strong"


class _Reader:
    """Reads one tree; notes what it skips."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._oddities: list[Oddity] = []
        self._description_bytes_left = MAX_DESCRIPTION_BYTES

    def submission(self) -> Submission:
        kind, organizations = self._organizations()
        return Submission(
            root=self._root,
            kind=kind,
            organizations=organizations,
            oddities=self._oddities,
            declaration=organizations[0].declaration if kind == "organization" else declaration(self._root),
        )

    def _organizations(self) -> tuple[str, list[Organization]]:
        """The kind of the tree and its organizations."""
        if is_folder(self._root / "results"):
            return "organization", [self._organization(self._root)]
        children = self._children(self._root)
        results = [child for child in children if RESULT_NAME.fullmatch(child.name)]
        if folders := [child for child in children if is_folder(child) and is_folder(child / "results")]:
            self._note((child for child in children if child.is_symlink()), "link")
            self._note(results, "unknown_file")
            return "round", [self._organization(folder) for folder in folders]
        if results:
            return "folder", [self._result_folder()]
        raise SubmissionError(
            f"{self._root}: found neither results/, nor organizations with results/, nor result_<i>.txt; "
            "expected a log, a result folder, an organization's submission or a round"
        )

    def _result_folder(self) -> Organization:
        org, system, scaling = _place(self._root)
        entry = self._entry(self._root, org=org, system=system, scaling=scaling, description=None)
        return Organization(name=org, folder=self._root, entries=[entry])

    def _organization(self, folder: Path) -> Organization:
        organization = Organization(
            name=folder.absolute().name,
            folder=folder,
            descriptions=self._descriptions(folder / "systems"),
            declaration=declaration(folder),
        )
        for system_folder in self._folders(folder / "results"):
            organization.result_systems.append(system_folder.name)
            for scaling, benchmark_folder in self._benchmark_folders(system_folder):
                entry = self._entry(
                    benchmark_folder,
                    org=organization.name,
                    system=system_folder.name,
                    scaling=scaling,
                    description=organization.descriptions.get(system_folder.name),
                )
                organization.entries.append(entry)
        return organization

    def _descriptions(self, folder: Path) -> dict[str, SystemDescription]:
        """System descriptions by the system's name."""
        files = [child for child in self._children(folder) if child.suffix == ".json"]
        self._note((file for file in files if file.is_symlink()), "link")
        return {file.stem: self._description(file) for file in files if not file.is_symlink()}

    def _description(self, path: Path) -> SystemDescription:
        limit = min(MAX_JSON_BYTES, self._description_bytes_left)
        repeated: list[str] = []
        try:
            values = json_file.load(path, limit, repeated)
        except UserError as error:
            return SystemDescription(path=path, error=_reason(error, path))
        self._description_bytes_left -= path.stat().st_size
        return SystemDescription(path=path, values=values, repeated=tuple(dict.fromkeys(repeated)))

    def _benchmark_folders(self, system_folder: Path) -> Iterator[tuple[str, Path]]:
        """(scaling, folder) of every benchmark."""
        for child in self._folders(system_folder):
            if child.name in SCALINGS:
                for grandchild in self._folders(child):
                    yield child.name, grandchild
            else:
                yield "strong", child

    def _entry(
        self, folder: Path, *, org: str, system: str, scaling: str, description: SystemDescription | None
    ) -> Entry:
        pruned, budget = folder / "pruned_results", ReadBudget()
        return Entry(
            org=org,
            system=system,
            benchmark=folder.absolute().name,
            scaling=scaling,
            folder=folder,
            runs=tuple(self._logs(folder, budget, KNOWN_FOLDERS)),
            pruned=tuple(self._logs(pruned, budget)) if is_folder(pruned) else (),
            description=description,
        )

    def _logs(self, folder: Path, budget: ReadBudget, known_folders: tuple[str, ...] = ()) -> list[UnreadLog]:
        """The folder's result_<i>.txt in the order of i."""
        numbered = []
        for child in self._children(folder):
            match = RESULT_NAME.fullmatch(child.name)
            if match and is_regular(child):
                numbered.append((int(match.group(1)), child))
            elif kind := _oddity(child, bool(match), known_folders):
                self._oddities.append(Oddity(child, kind))
        if not numbered:
            self._oddities.append(Oddity(folder, "empty_folder"))
        return [UnreadLog(path, budget) for _, path in sorted(numbered)]

    def _children(self, folder: Path) -> list[Path]:
        """Sorted children of a folder that is not a link; hidden ones only if they are named like a result file."""
        if folder != self._root and not is_folder(folder):
            return []
        try:
            children = sorted(folder.iterdir())
        except OSError:
            self._oddities.append(Oddity(folder, "unlisted_folder"))
            return []
        return [child for child in children if child.name[0] != "." or RESULT_NAME.search(child.name)]

    def _folders(self, folder: Path) -> list[Path]:
        """Sorted subfolders; links are noted, files are not, since READMEs may be anywhere."""
        children = self._children(folder)
        self._note((child for child in children if child.is_symlink()), "link")
        return [child for child in children if is_folder(child)]

    def _note(self, paths: Iterable[Path], kind: str) -> None:
        self._oddities += [Oddity(path, kind) for path in paths]


def _oddity(child: Path, is_named_like_a_result: bool, known_folders: tuple[str, ...]) -> str | None:
    """The kind of an oddity in a result folder; None for a folder that may be there."""
    if child.is_symlink():
        return "link"
    if is_named_like_a_result:
        return "not_a_file"
    if is_folder(child):
        return None if child.name in known_folders else "unknown_folder"
    return None if child.name == SCALING_FILE else "unknown_file"


def _reason(error: UserError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
