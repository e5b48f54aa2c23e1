# SPDX-License-Identifier: Apache-2.0
"""A data set while it arrives on a node: TARGET.partial, which becomes TARGET when every file is whole and checked.

    copy = PartialCopy(source, target, listed)            # the files to come: all, or a node part's
    with copy:
        for number in copy.missing:
            copy.take(number, payload)            # from any thread: unpacked, written, checked
        copy.complete()

After an interrupted staging, the files in TARGET.partial are hashed. Those that are whole and unchanged stay; all
others are removed and arrive again.
"""

import fcntl
import hashlib
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TextIO

from harness import progress
from harness.archive.archive import ArchiveError
from harness.data import manifest
from harness.data.manifest import DataFile, Manifest, ManifestError
from harness.staging import direct_io
from harness.staging.streaming_sha256 import StreamingSha256
from harness.staging.units import Segment, Source, StagingError, Unit

LOCK = ".lock"
BLOCK_BYTES = 4096
NUM_HASHERS = max(2, os.cpu_count() or 1)
"""Threads that hash files that are there already."""


class PartialCopy:
    """The arriving copy; see the module's docstring."""

    def __init__(self, source: Source, target: Path, listed: Manifest | None = None) -> None:
        """Find out what is there already, and prepare for the rest. `listed`: a part of the source; None for all.

        StagingError if the target is something else, cannot be written, or has too little space.
        """
        self.source, self.target = source, target
        self.manifest = listed or source.manifest
        """Manifest of the data set that arrives."""
        self.partial = target.with_name(f"{target.name}.partial")
        self.there = self._is_there()
        """True if the target is this data set already, whole."""
        self._lock = threading.Lock()
        self._lock_file = None if self.there else self._open()
        self._wanted = {} if self.there else self._not_arrived()
        self.missing = [number for number, unit in enumerate(source.units) if any(self._of(unit))]
        """Units that are still to come."""
        self._segments_missing = Counter(segment.file.path for segment in self._to_come() if not segment.whole)
        self._checksums = {path: StreamingSha256() for path in self._segments_missing}
        if not self.there:
            self._check_space()
            self._make_folders()

    def __enter__(self) -> "PartialCopy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock_file:
            self._lock_file.close()

    def take(self, number: int, payload: memoryview) -> None:
        """Write a unit and check the files that it makes whole. Raises StagingError."""
        unit = self.source.units[number]
        try:
            for segment, content in self.source.unpack(unit, payload):
                if segment.file.path in self._wanted:
                    self._write(segment, content)
        except OSError as error:
            raise StagingError(f"{error.filename or self.partial}: {error.strerror}") from None
        except ArchiveError as error:
            raise StagingError(f"{self.source.folder}/{error}") from None

    def complete(self) -> None:
        """All units are there: the data set gets its name, at once."""
        if self.there:
            return
        assert not +self._segments_missing, "units are missing"
        self.manifest.save(self.partial)
        (self.partial / LOCK).unlink()
        self.partial.replace(self.target)

    def _of(self, unit: Unit) -> Iterator[Segment]:
        """The unit's segments of files that are still to come."""
        return (segment for segment in unit.segments if segment.file.path in self._wanted)

    def _to_come(self) -> Iterator[Segment]:
        return (segment for number in self.missing for segment in self._of(self.source.units[number]))

    def _open(self) -> TextIO:
        """The lock file, locked: another process that stages to this target fails before anything is changed."""
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            lock_file = (self.partial / LOCK).open("a")
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StagingError(f"{self.partial}: another process is staging there; stage once for all") from None
        except OSError as error:
            raise StagingError(f"{error.filename or self.partial}: {error.strerror}; choose another target") from None
        return lock_file

    def _not_arrived(self) -> dict[str, DataFile]:
        """The listed files without those that are there, whole and unchanged; all other files there are removed."""
        listed = {file.path: file for split in self.manifest.splits.values() for file in split.files}
        there = {
            Path(at, name).relative_to(self.partial).as_posix()
            for at, _, names in os.walk(self.partial)
            for name in names
        }
        arrived = _unchanged(self.partial, [file for path, file in listed.items() if path in there])
        for path in there - arrived - {LOCK}:
            (self.partial / path).unlink()
        return {path: file for path, file in listed.items() if path not in arrived}

    def _write(self, segment: Segment, content: memoryview) -> None:
        path = f"{self.partial}/{segment.file.path}"  # a string: a Path takes as long as writing a small file
        if segment.whole:
            self._check(segment, hashlib.sha256(content).hexdigest())
        try:
            direct_io.write_range(path, segment.offset, content)
        except OSError as error:
            error.filename = path
            raise
        if not segment.whole:
            self._check_large(segment, content)

    def _check_large(self, segment: Segment, content: memoryview) -> None:
        name = segment.file.path
        self._checksums[name].add(segment.offset, content)
        with self._lock:
            self._segments_missing[name] -= 1
            last = not self._segments_missing[name]
        if last:
            self._check(segment, self._checksums.pop(name).finish(self.partial / name))

    def _check(self, segment: Segment, found: str) -> None:
        if found != segment.file.sha256:
            path = self.source.folder / segment.file.path
            expected = f"found {found}, expected {segment.file.sha256}"
            raise StagingError(f"{path}: sha256: {expected}; the source was damaged or changed: prepare it again")

    def _is_there(self) -> bool:
        if not self.target.exists():
            return False
        try:
            listed = manifest.Manifest.load(self.target)
            if listed == self.manifest:
                listed.verify(self.target)
                return True
        except ManifestError as error:
            raise StagingError(f"{error}; remove {self.target}") from None
        raise StagingError(f"{self.target}: is another data set; remove it, or choose another target")

    def _check_space(self) -> None:
        needed = sum(-(-segment.bytes // BLOCK_BYTES) * BLOCK_BYTES for segment in self._to_come())
        free = shutil.disk_usage(self.target.parent).free
        if needed > free:
            found = f"{free / 1e9:.3f} GB are free, {needed / 1e9:.3f} GB are to come"
            raise StagingError(f"{self.target.parent}: {found}; choose another target, or fewer samples")

    def _make_folders(self) -> None:
        for folder in sorted({path.rpartition("/")[0] for path in self._wanted}):
            (self.partial / folder).mkdir(parents=True, exist_ok=True)


def _unchanged(folder: Path, files: Sequence[DataFile]) -> set[str]:
    """Paths of those files in `folder` whose content is as listed; reads all of them."""
    if not files:
        return set()
    with ThreadPoolExecutor(NUM_HASHERS) as pool, progress.counted("checking what is there", len(files)) as advance:

        def check(file: DataFile) -> bool:
            fault = manifest.fault(folder / file.path, file, checksums=True)
            advance()
            return fault is None

        return {file.path for file, is_unchanged in zip(files, pool.map(check, files), strict=True) if is_unchanged}
