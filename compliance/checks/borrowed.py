# SPDX-License-Identifier: Apache-2.0
"""H: hyperparameters borrowed from another submitter, compared with the logs of both.

A file benchmarks/<benchmark>/<system>/*.toml with a [borrowed] table, as `python -m compliance borrow` writes it,
states that the hyperparameters of this entry are another submitter's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from compliance.checks.registry import Fault, rule
from compliance.checks.values import shown
from compliance.files import toml
from compliance.files.errors import UserError
from compliance.files.regular_file import is_regular
from compliance.rulesets import hyperparameters_file
from compliance.rulesets.hyperparameters_file import HyperparametersFile
from compliance.submissions.borrowing import differences, lendable_keys, sha256
from compliance.submissions.reader import RESULT_NAME, Entry, Organization, Submission

KEYS = ("lender", "path", "sha256")
MAX_FILES = 16  # borrowed files of a system that are compared; its runs can have used one of them


@dataclass(frozen=True)
class Borrowing:
    """A usable borrowed file and the entry whose runs it configured."""

    path: Path
    entry: Entry
    file: HyperparametersFile


@dataclass(frozen=True)
class UnusableFile:
    """A borrowed file that cannot be used, and the reason."""

    path: Path
    reason: str


@rule("H951")
def borrowed_file_is_complete(submission: Submission) -> Iterator[Fault]:
    """A borrowed configuration names its rules and division, and in [borrowed] the lender, path and sha256.

    Why: without them nobody can find out whose hyperparameters these are.
    Example: a [borrowed] table without sha256.
    Fix: write the file with `python -m compliance borrow LENDER MINE` and do not edit it.
    """
    for file in _borrowed_files(submission):
        if isinstance(file, UnusableFile):
            yield Fault(file.path, file.reason)


@rule("H952")
def borrowed_hyperparameters_were_used(submission: Submission) -> Iterator[Fault]:
    """The runs of a borrowing entry have the hyperparameters of its borrowed file; the batch may differ.

    Why: hyperparameters are borrowed as a group; with one value changed they are a configuration of one's own.
    Example: borrowed opt_lr 0.004, trained with 0.0055.
    Fix: train with the borrowed file: `--hyperparameters hyperparameters.borrowed.toml`.
    """
    for borrowing in _borrowings(submission):
        borrowed = borrowing.file.hyperparameters
        for log in borrowing.entry.logs:
            for key, value in differences(borrowed, log):
                event = log.first(key)
                expected = f"{shown(borrowed[key])}, as in {borrowing.path.name}"
                message = f"{key} is {shown(value)}" if event else f"{key} is missing"
                yield Fault(log.path, message, event.line if event else 0, expected, shown(value))


@rule("H953")
def borrowed_hyperparameters_are_the_lenders(submission: Submission) -> Iterator[Fault]:
    """A borrowed file has all hyperparameters of the lender's runs, unchanged.

    Why: a group with one value left out or improved is not the lender's.
    Example: opt_lr 0.0041 in the borrowed file, 0.004 in the lender's log.
    Fix: write the file again with `python -m compliance borrow LENDER MINE`.
    """
    digest_of = cache(sha256)  # many files may name one log
    for borrowing in _borrowings(submission):
        lender = _lender(borrowing.file, submission)
        if lender is None:
            continue
        organization, entry = lender
        source = _file_of(borrowing.file, organization, entry)
        if source is None or digest_of(source) != borrowing.file.borrowed["sha256"]:
            found = "another file" if source else "no such file"
            yield Fault(borrowing.path, f"{borrowing.file.borrowed['path']} is {found}", expected="that sha256")
        yield from _departures(borrowing, entry)


def _departures(borrowing: Borrowing, lender: Entry) -> Iterator[Fault]:
    """Values that differ from the lender's first run, and values of that run that are missing."""
    log = lender.runs[0]
    borrowed = borrowing.file.hyperparameters
    for key, value in differences(borrowed, log):
        yield Fault(borrowing.path, f"{key} is {shown(borrowed[key])}", expected=f"{shown(value)}, as in {log.path}")
    for key in lendable_keys(borrowing.file):
        if key in log.by_key and key not in borrowed:
            expected = f"{shown(log.value(key))}, as in {log.path}"
            yield Fault(borrowing.path, f"{key} was not borrowed", expected=expected)


@rule("H954", severity="manual")
def lender_is_in_the_round(submission: Submission) -> Iterator[Fault]:
    """The lender's entry is part of the checked submissions.

    Why: borrowed hyperparameters can only be compared with logs that are at hand.
    Example: a submission checked alone, although it borrowed from another organization.
    Fix: check the whole round, with the lender's submission in it.
    """
    for borrowing in _borrowings(submission):
        if _lender(borrowing.file, submission) is None:
            path = borrowing.file.borrowed["path"]
            yield Fault(borrowing.path, f"not compared with the lender's logs: {path} is not in {submission.root}")


def _borrowed_files(submission: Submission) -> Iterator[Borrowing | UnusableFile]:
    for organization in submission.organizations:
        for entry in organization.entries:
            paths = _toml_files(organization, entry.benchmark, entry.system)
            files = (file for path in paths if (file := _read(path, entry)) is not None)
            yield from islice(files, MAX_FILES)
            if (surplus := next(files, None)) is not None:
                yield UnusableFile(surplus.path, f"one of more than {MAX_FILES} borrowed files, which are not compared")


def _borrowings(submission: Submission) -> Iterator[Borrowing]:
    return (file for file in _borrowed_files(submission) if isinstance(file, Borrowing))


def _toml_files(organization: Organization, benchmark: str, system: str) -> list[Path]:
    """TOML files of a system's folder; links are excluded, since they could lead out of the submission."""
    folder = organization.folder
    for name in ("benchmarks", benchmark, system):
        folder = folder / name
        if folder.is_symlink() or not folder.is_dir():
            return []
    return [path for path in sorted(folder.glob("*.toml")) if path.is_file() and not path.is_symlink()]


def _read(path: Path, entry: Entry) -> Borrowing | UnusableFile | None:
    """None if the file has no [borrowed] table or is not TOML."""
    try:
        if "borrowed" not in toml.load(path):
            return None
    except UserError:
        return None
    try:
        file = hyperparameters_file.read(path, entry.benchmark)
    except UserError as error:
        return UnusableFile(path, str(error).removeprefix(f"{path}: "))
    missing = [key for key in KEYS if not isinstance(file.borrowed.get(key), str) or not file.borrowed[key]]
    if missing:
        return UnusableFile(path, f"[borrowed] is missing keys: {', '.join(missing)}")
    return Borrowing(path, entry, file)


def _lender(file: HyperparametersFile, submission: Submission) -> tuple[Organization, Entry] | None:
    """The entry whose logs or configuration `path` names."""
    org, *parts = file.borrowed["path"].split("/")
    if len(parts) < 4:
        return None
    system, benchmark = (parts[1], parts[-2]) if parts[0] == "results" else (parts[2], parts[1])
    for organization in submission.organizations:
        for entry in organization.entries if organization.name == org else ():
            if (entry.system, entry.benchmark) == (system, benchmark) and entry.runs:
                return organization, entry
    return None


def _file_of(file: HyperparametersFile, organization: Organization, lender: Entry) -> Path | None:
    """The lender's file that `path` names, if it is a log that was read or a TOML file; no other file is opened."""
    path = organization.folder.joinpath(*file.borrowed["path"].split("/")[1:])
    folders = (lender.folder, lender.folder / "pruned_results") if lender.pruned else (lender.folder,)
    is_log = path.parent in folders and RESULT_NAME.fullmatch(path.name) is not None and is_regular(path)
    return path if is_log or path in _toml_files(organization, lender.benchmark, lender.system) else None
