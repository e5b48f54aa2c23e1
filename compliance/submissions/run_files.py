# SPDX-License-Identifier: Apache-2.0
"""Finds the logs of complete runs among the files of a user's folders, and says why every other file is not one.

found = find([Path("runs")])
found.logs, found.skipped
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from compliance import mllog
from compliance.files.errors import UserError
from compliance.files.regular_file import is_folder, is_regular
from compliance.mllog import MARKER, RunLog

LOG_SUFFIXES = frozenset({".txt", ".log", ".out", ".err", ""})
"""Files with other names are read only if their beginning has a line of a log: checkpoints are large."""
BEGINNING_BYTES = 1 << 20
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
}
UTF16 = (b"\xff\xfe", b"\xfe\xff")
MAX_NAMED = 5  # in an error of one line, and of files that are alike


@dataclass(frozen=True)
class Skipped:
    """A file that is not the log of a complete run."""

    path: Path
    reason: str
    """For example 'is empty'."""


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """Sorted by the start of the runs, and by path."""

    logs: tuple[RunLog, ...]
    skipped: tuple[Skipped, ...]


def find(paths: Iterable[Path]) -> RunFiles:
    """Look through files and folders. UserError if there is no complete run, or one twice."""
    paths = list(paths)
    logs, skipped = [], []
    for file in sorted({file for path in paths for file in _files(path)}):
        reason = _reason_not_to_read(file)
        if not reason:
            log = mllog.read(file)
            reason = _reason_not_to_take(log)
        if reason:
            skipped.append(Skipped(file, reason))
        else:
            logs.append(log)
    if not logs:
        why = "".join(f"; {line}" for line in lines(skipped)[:MAX_NAMED])
        raise UserError(f"{', '.join(map(str, paths))}: no log of a complete run{why}")
    _refuse_copies(logs)
    return RunFiles(logs=tuple(sorted(logs, key=start_ms)), skipped=tuple(skipped))


def lines(skipped: Iterable[Skipped]) -> list[str]:
    """A line for each file; many files of one folder with the same ending and reason share a line."""
    groups: dict[tuple[Path, str, str], list[Path]] = {}
    for file in skipped:
        groups.setdefault((file.path.parent, file.path.suffix, file.reason), []).append(file.path)
    named = []
    for (folder, suffix, reason), paths in groups.items():
        if len(paths) > MAX_NAMED:
            named.append(f"{folder}/*{suffix} ({len(paths)} files, each): {reason}")
        else:
            named += [f"{path}: {reason}" for path in paths]
    return named


def start_ms(log: RunLog) -> float:
    """Time of run_start, which a log that was found has."""
    start = log.first("run_start")
    assert start is not None
    return start.time_ms


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all files beneath the folder; links are not followed."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if not path.is_dir():
        yield path
        return
    unlisted: list[Path] = []
    for folder, folders, names in os.walk(path, onerror=lambda error: unlisted.append(Path(error.filename))):
        links = (name for name in folders if not is_folder(Path(folder, name)))
        yield from (Path(folder, name) for name in (*names, *links))
    yield from unlisted


def _reason_not_to_read(path: Path) -> str:
    """Why a file cannot be the log of a run; empty if it may be."""
    if is_folder(path):
        return "is a folder that cannot be listed"
    if not is_regular(path):
        return "is a link, which is not followed" if path.is_symlink() else "is not a regular file"
    try:
        with path.open("rb") as file:
            beginning = file.read(BEGINNING_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not beginning:
        return "is empty"
    if kind := next((kind for magic, kind in COMPRESSED.items() if beginning.startswith(magic)), None):
        return f"is a {kind} file; unpack it"
    if beginning.startswith(UTF16):
        return "is UTF-16 text; convert it to UTF-8"
    if path.suffix not in LOG_SUFFIXES and MARKER not in beginning:
        return f"has no {MARKER.decode()} line in its first MiB"
    return ""


def _reason_not_to_take(log: RunLog) -> str:
    """Why a file is not the log of a complete run; empty if it is."""
    if log.error:
        return f"cannot be read: {log.error}"
    if not log.num_events:
        return f"has no readable {MARKER.decode()} line"
    for key in ("submission_benchmark", "run_start", "run_stop"):
        if log.first(key) is None:
            return f"has no {key}: {'the run did not end' if key == 'run_stop' else 'not the log of a run'}"
    return ""


def _refuse_copies(logs: Iterable[RunLog]) -> None:
    """UserError if a run is there twice, as in a log and in the output of its batch job."""
    known: dict[object, RunLog] = {}
    pairs = []
    for log in logs:
        originals = [known.setdefault(key, log) for key in (_moment(log), log.signature.course)]
        if other := next((original for original in originals if original is not log), None):
            pairs.append(f"{log.path} is the same run as {other.path}")
    if pairs:
        more = f" and {len(pairs) - MAX_NAMED} more" if len(pairs) > MAX_NAMED else ""
        raise UserError(f"{'; '.join(pairs[:MAX_NAMED])}{more}; name each run once")


def _moment(log: RunLog) -> tuple[object, ...]:
    """Start, end and seed, which two runs do not share to the millisecond."""
    return start_ms(log), max(event.time_ms for event in log.all("run_stop")), repr(log.value("seed"))
