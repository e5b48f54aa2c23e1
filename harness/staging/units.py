# SPDX-License-Identifier: Apache-2.0
"""A data set cut into units of a few megabytes, which staging reads, sends and writes one at a time.

    source = Source.open(folder)                           # plain files, or the archives of harness.archive
    payload = source.read(source.units[0])                 # the source's bytes, which the network carries
    for segment, content in source.unpack(unit, payload):  # the bytes of files, as they are written on the node
        ...

A unit is several small files, a range of a large file, or a frame of an archive.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from compliance.files.errors import UserError
from harness.archive import archive
from harness.archive.archive import Frame, Index
from harness.data import listings, manifest, node_parts
from harness.data.listings import Listings
from harness.data.manifest import DataFile, Manifest
from harness.data.node_parts import NodePart
from harness.staging import direct_io

UNIT_BYTES, MIN_UNIT_BYTES = 16 << 20, 1 << 16
"""Largest and smallest size of a unit of a large file."""
UNITS_PER_NODE = 4
"""Small data sets are cut into at least this many units per node, so that all nodes read and send at the same time."""
MAX_UNITS = 1 << 22
"""From this number of units on, sizes are compared with the files before units are made."""
NUM_JOINED = 4
"""Small-file units are this many times smaller than large-file units, to keep all threads busy."""


class StagingError(UserError):
    """Data that cannot be staged. No node then has a data set under the target's name."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A range of one file."""

    file: DataFile
    """The file, as the manifest lists it."""
    offset: int
    """Byte offset of the range in the file."""
    bytes: int
    """Size of the range."""

    @property
    def whole(self) -> bool:
        """True if the range is the whole file."""
        return self.bytes == self.file.bytes


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A piece of the data set that is read, sent and written at once."""

    bytes: int
    """Size at the source."""
    segments: tuple[Segment, ...]
    """The files, or the range of a file, that it holds."""
    frame: Frame | None = None
    """Its place in an archive; None for plain files."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set and its units."""

    folder: Path
    """Folder of the data set, plain or packed."""
    manifest: Manifest
    """Manifest of the whole data set."""
    units: tuple[Unit, ...]
    """All units, in the order of the manifest."""

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        listed_by: Listings | None = None,
        max_unit_bytes: int = UNIT_BYTES,
        num_nodes: int = 1,
        num_node_parts: int = 1,
    ) -> "Source":
        """Cut the data set in `folder`. UserError if its manifest or its archives cannot be read or disagree.

        listed_by: manifest and index, if they have been read.  num_nodes: number of nodes that share the
        units.  Plain files of different node parts are never in one unit.
        """
        listed_by = listed_by or listings.read(folder)
        listed = listed_by.parsed(folder)
        if listed is None:
            raise StagingError(f"{folder / manifest.FILE_NAME}: no manifest; prepare the data set first")
        NodePart.of(listed)  # refuses impossible numbers
        parts = [
            part for name, split in listed.splits.items() for part in node_parts.parts_of(name, split, num_node_parts)
        ]
        if listed_by.index is not None:
            files = chain.from_iterable(part.files for part in parts)
            units = tuple(_frames(files, Index.parse(folder, listed_by.index)))
        else:
            num_bytes = sum(file.bytes for part in parts for file in part.files)
            unit_bytes = min(max(num_bytes // (num_nodes * UNITS_PER_NODE), MIN_UNIT_BYTES), max_unit_bytes)
            if num_bytes > MAX_UNITS * unit_bytes:
                listed.verify(folder)  # a false size would make countless units
            units = tuple(unit for part in parts for unit in _ranges(part.files, unit_bytes))
        return cls(folder=folder, manifest=listed, units=units)

    def read(self, unit: Unit) -> memoryview:
        """The unit's bytes at the source; StagingError if they cannot be read."""
        if unit.frame:
            return self._read(unit.frame.archive, unit.frame.offset, unit.frame.bytes)
        contents = [self._read(self._name(segment.file), segment.offset, segment.bytes) for segment in unit.segments]
        return contents[0] if len(contents) == 1 else memoryview(bytearray().join(contents))

    def unpack(self, unit: Unit, payload: memoryview) -> Iterator[tuple[Segment, memoryview]]:
        """The unit's segments and their contents."""
        if unit.frame:
            yield from zip(unit.segments, archive.contents(unit.frame, payload), strict=True)
            return
        start = 0
        for segment in unit.segments:
            yield segment, payload[start : start + segment.bytes]
            start += segment.bytes

    def _name(self, file: DataFile) -> str:
        """The file's path, or where it ends if the manifest lists it as a link."""
        return os.path.realpath(self.folder / file.path) if file.link is True else file.path

    def _read(self, name: str, offset: int, num_bytes: int) -> memoryview:
        path = self.folder / name
        try:
            content = direct_io.read_range(path, offset, num_bytes)
        except OSError as error:
            raise StagingError(f"{path}: cannot be read: {error.strerror}") from None
        if len(content) != num_bytes:
            found = f"found {len(content)} bytes from byte {offset} on, expected {num_bytes}"
            raise StagingError(f"{path}: {found}; it changed after {manifest.FILE_NAME} was written: prepare it again")
        return content


def _ranges(files: Iterable[DataFile], unit_bytes: int) -> Iterator[Unit]:
    """Units of several consecutive small files, and units of large files, which are cut."""
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
    """One unit per frame; StagingError if archives and manifest disagree about a file."""
    listed = {file.path: file for file in files}
    for frame in index.frames:
        segments = []
        for member in frame.members:
            file = listed.pop(member.path, None)
            if file is None or file.bytes != member.bytes:
                raise StagingError(f"{member.path}: archives and manifest disagree; pack the data set again")
            segments.append(Segment(file=file, offset=0, bytes=file.bytes))
        yield Unit(bytes=frame.bytes, segments=tuple(segments), frame=frame)
    if listed:
        raise StagingError(f"{next(iter(listed))}: in {manifest.FILE_NAME}, but in no archive; pack the data set again")
