# SPDX-License-Identifier: Apache-2.0
"""A data set while it arrives on a node: TARGET.partial, which becomes TARGET when every file is whole and checked.

    landing = PartialCopy(source, target, listed)         # the files to come: all, or a node part's
    with landing:
        for number in landing.missing:
            landing.take(number, payload)         # from any thread: unpacked, written, checked, noted
        landing.complete()

A journal in TARGET.partial notes each unit once it is written, so that staging that was killed goes on where it stood.
It begins with the kernel's boot: after a power failure, what it notes may never have reached the disk.
"""

import fcntl
import hashlib
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TextIO

from harness.archive.archive import ArchiveError
from harness.data import manifest
from harness.data.manifest import Manifest, ManifestError
from harness.data.node_parts import NodePart
from harness.staging import direct_io
from harness.staging.streaming_sha256 import StreamingSha256
from harness.staging.units import Segment, Source, StagingError, Unit

JOURNAL = ".journal"
BOOT = Path("/proc/sys/kernel/random/boot_id")
BLOCK_BYTES = 4096


class PartialCopy:
    """The arriving copy; see the module's head."""

    def __init__(self, source: Source, target: Path, listed: Manifest | None = None) -> None:
        """Look at what is there already, and make ready for the rest; `listed`: a part of the source, None for all.

        StagingError where the target is something else, cannot be written, or has too little space.
        """
        self.source, self.target = source, target
        self.manifest = listed or source.manifest
        """Of the data set that arrives."""
        self._paths = {file.path for split in self.manifest.splits.values() for file in split.files}
        self.partial = target.with_name(f"{target.name}.partial")
        self.there = self._is_there()
        """Whether the target is this data set already, whole."""
        self._lock = threading.Lock()
        self._journal = None if self.there else self._open()
        arrived = self._arrived(self._journal) if self._journal else set()
        wanted = [] if self.there else [number for number, unit in enumerate(source.units) if any(self._of(unit))]
        self.missing = [number for number in wanted if number not in arrived]
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
        if self._journal:
            self._journal.close()

    def take(self, number: int, payload: memoryview) -> None:
        """Write a unit and check the files that it makes whole; StagingError where that fails."""
        unit = self.source.units[number]
        try:
            for segment, content in self.source.unpack(unit, payload):
                if segment.file.path in self._paths:
                    self._write(segment, content)
            with self._lock:
                assert self._journal, "the target is there already"
                self._journal.write(f"{number}\n")
        except OSError as error:
            raise StagingError(f"{error.filename or self.partial}: {error.strerror}") from None
        except ArchiveError as error:
            raise StagingError(f"{self.source.folder}/{error}") from None

    def complete(self) -> None:
        """All units are there: the data set takes its name, at once."""
        if self.there:
            return
        assert not +self._segments_missing, "units are missing"
        self.manifest.save(self.partial)
        (self.partial / JOURNAL).unlink()
        self.partial.replace(self.target)

    def _of(self, unit: Unit) -> Iterator[Segment]:
        """The unit's segments that belong to the data set that arrives."""
        return (segment for segment in unit.segments if segment.file.path in self._paths)

    def _to_come(self) -> Iterator[Segment]:
        return (segment for number in self.missing for segment in self._of(self.source.units[number]))

    def _open(self) -> TextIO:
        """The journal, locked: whoever else stages to this target is told so before anything is touched."""
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            journal = (self.partial / JOURNAL).open("a+", buffering=1)
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StagingError(f"{self.partial}: another process is staging there; stage once for all") from None
        except OSError as error:
            raise StagingError(f"{error.filename or self.partial}: {error.strerror}; choose another target") from None
        return journal

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

    def _arrived(self, journal: TextIO) -> set[int]:
        """Units that the journal notes, if it is of this very data set, cut alike, and of this boot; else none."""
        journal.seek(0)
        head, *notes = journal.read().split("\n")
        if head == self._head():
            return {int(note) for note in notes[:-1]}  # the last one is empty, or was cut off in writing
        for path in self.partial.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != JOURNAL:
                path.unlink()
        journal.truncate(0)
        journal.write(self._head() + "\n")
        return set()

    def _head(self) -> str:
        cut = "".join(f"{unit.segments[0].file.sha256} {unit.segments[0].offset}," for unit in self.source.units)
        cut += repr(NodePart.of(self.manifest))
        boot = BOOT.read_text().strip() if BOOT.exists() else ""
        return f"{boot} {len(self.source.units)} {hashlib.sha256(cut.encode()).hexdigest()}"

    def _check_space(self) -> None:
        needed = sum(-(-segment.bytes // BLOCK_BYTES) * BLOCK_BYTES for segment in self._to_come())
        free = shutil.disk_usage(self.target.parent).free
        if needed > free:
            found = f"{free / 1e9:.3f} GB are free, {needed / 1e9:.3f} GB are to come"
            raise StagingError(f"{self.target.parent}: {found}; choose another target, or fewer samples")

    def _make_folders(self) -> None:
        folders = {path.rpartition("/")[0] for path in self._paths}
        for folder in sorted(folders):
            (self.partial / folder).mkdir(parents=True, exist_ok=True)
