# SPDX-License-Identifier: Apache-2.0
"""What staging moves: a data set cut into units of a few megabytes, each read at once and written at once.

    source = Source.open(folder)                           # plain files, or the archives of harness.archive
    payload = source.read(source.units[0])                 # as it lies at the source: what the network carries
    for segment, content in source.unpack(unit, payload):  # as it shall lie on the node
        ...

A unit holds several small files, a stretch of a large one, or a frame of an archive.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from compliance.files.errors import UserError
from harness.archive import archive
from harness.archive.archive import Frame, Index
from harness.data import manifest, node_parts
from harness.data.manifest import DataFile, Manifest
from harness.staging import direct_io

UNIT_BYTES = 16 << 20
NUM_JOINED = 4
"""So many times smaller than a stretch of a large file is a unit of small ones: there are many to keep threads busy."""


class StagingError(UserError):
    """Data that cannot be staged; no node then has a data set under the target's name."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of one file."""

    file: DataFile
    offset: int
    """Of its first byte in the file."""
    bytes: int

    @property
    def whole(self) -> bool:
        return self.bytes == self.file.bytes


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is read, sent and written at once."""

    bytes: int
    """Size as it is read and sent."""
    segments: tuple[Segment, ...]
    frame: Frame | None = None
    """Where it lies in an archive; None for plain files."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set and how it is cut."""

    folder: Path
    manifest: Manifest
    units: tuple[Unit, ...]

    @classmethod
    def open(cls, folder: Path, *, unit_bytes: int = UNIT_BYTES, num_node_parts: int = 1) -> "Source":
        """The data set in `folder`; ManifestError or ArchiveError where it says too little of itself.

        Plain files of different node parts are never in one unit.
        """
        listed = Manifest.load(folder)
        parts = [
            part
            for name, split in listed.splits.items()
            for part in node_parts.split_files(name, split, num_node_parts)
        ]
        if archive.is_packed(folder):
            units = _frames(chain.from_iterable(parts), Index.load(folder))
        else:
            units = chain.from_iterable(_stretches(part, unit_bytes) for part in parts)
        return cls(folder=folder, manifest=listed, units=tuple(units))

    def read(self, unit: Unit) -> bytes | memoryview:
        """The unit's bytes at the source; StagingError where they cannot be had."""
        if unit.frame:
            return self._read(unit.frame.archive, unit.frame.offset, unit.frame.bytes)
        contents = [self._read(each.file.path, each.offset, each.bytes) for each in unit.segments]
        return contents[0] if len(contents) == 1 else b"".join(contents)

    def unpack(self, unit: Unit, payload: memoryview) -> Iterator[tuple[Segment, memoryview]]:
        """The unit's segments and their contents."""
        if unit.frame:
            yield from zip(unit.segments, archive.contents(unit.frame, payload), strict=True)
            return
        start = 0
        for segment in unit.segments:
            yield segment, payload[start : start + segment.bytes]
            start += segment.bytes

    def _read(self, name: str, offset: int, num_bytes: int) -> memoryview:
        path = self.folder / name
        try:
            content = direct_io.read_range(path, offset, num_bytes)
        except OSError as error:
            raise StagingError(f"{path}: cannot be read: {error.strerror}") from None
        if len(content) != num_bytes:
            found = f"found {len(content)} bytes from byte {offset} on, expected {num_bytes}"
            raise StagingError(f"{path}: {found}; it was changed or cut since {manifest.FILE_NAME} was written")
        return content


def _stretches(files: Iterable[DataFile], unit_bytes: int) -> Iterator[Unit]:
    """Small neighbouring files together, large files cut."""
    together: list[Segment] = []
    num_bytes = 0
    for file in files:
        for offset in range(0, max(file.bytes, 1), unit_bytes):
            segment = Segment(file=file, offset=offset, bytes=min(unit_bytes, file.bytes - offset))
            if together and num_bytes + segment.bytes > unit_bytes // NUM_JOINED:
                yield Unit(bytes=num_bytes, segments=tuple(together))
                together, num_bytes = [], 0
            together.append(segment)
            num_bytes += segment.bytes
    if together:
        yield Unit(bytes=num_bytes, segments=tuple(together))


def _frames(files: Iterable[DataFile], index: Index) -> Iterator[Unit]:
    listed = {file.path: file for file in files}
    for frame in index.frames:
        members = [(member, listed.pop(member.path, None)) for member in frame.members]
        stray = [member.path for member, file in members if file is None or file.bytes != member.bytes]
        if stray:
            raise StagingError(f"{stray[0]}: archives and {manifest.FILE_NAME} disagree; pack the data set again")
        segments = (Segment(file=file, offset=0, bytes=file.bytes) for _, file in members)
        yield Unit(bytes=frame.bytes, segments=tuple(segments), frame=frame)
    if listed:
        raise StagingError(f"{next(iter(listed))}: in {manifest.FILE_NAME}, but in no archive; pack the data set again")
