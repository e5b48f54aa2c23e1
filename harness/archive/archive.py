# SPDX-License-Identifier: Apache-2.0
"""Many small files in few archives: tar files in zstd frames of a few files each, with an index.

    python -m harness.archive data packed         # packed/part_00000.tar.zst, ..., packed/archives.json, manifest.json
    python -m harness.archive --verify packed     # every byte against the manifest
    tar --zstd -xf packed/part_00000.tar.zst      # each is an ordinary compressed archive

A parallel file system then opens a few large files instead of a million small ones, and the network carries compressed
data (MLPerf HPC paper, section 4.1.1: 88 % less for CosmoFlow, 23 % for DeepCAM). Every frame can be unpacked by
itself, so that any file is reached by reading one frame, and frames are unpacked in parallel. harness.staging accepts
both forms, and so does a benchmark's --data if the system has a staging_folder.
"""

import hashlib
import itertools
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zstandard
from rich.console import Console
from rich.progress import track

from compliance.files import atomic_write, regular_file
from compliance.files.errors import UserError
from harness import progress
from harness.data import listings, manifest
from harness.data.listings import Listings
from harness.data.manifest import INDEX_NAME, Count, DataFile, Manifest

FRAME_BYTES = 1 << 20
"""Content of a frame, unless a single file is larger: small enough to fetch one file, large enough to compress."""
ARCHIVE_BYTES = 4 << 30
"""Size from which a new archive is begun."""
MAX_FILE_BYTES = 1 << 30
"""Limit for files in an archive: frames are unpacked in memory, and larger files gain nothing from archives."""
MAX_HEADER_BYTES = 16 << 10
"""Limit for what tar and zstd add to a file: its header, which grows with its path, and padding."""
LEVEL = 3
"""Default level of zstd's compression."""
NUM_AHEAD = 64
"""Frames that are in memory at the same time."""


class ArchiveError(UserError):
    """Archives that cannot be written or read."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in a frame."""

    path: str
    """Path relative to the data set's folder."""
    offset: Count
    """Byte offset of the file in the decompressed frame."""
    bytes: Count
    """Size of the file."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A range of an archive that can be unpacked by itself."""

    archive: str
    """File name of the archive."""
    offset: Count
    """Byte offset of the frame in the archive."""
    bytes: Count
    """Compressed size."""
    members: tuple[Member, ...]
    """Files in the frame, in the order of the manifest."""

    @property
    def content_bytes(self) -> int:
        """Size of the decompressed frame: up to the end of the last file's tar block."""
        end = max((member.offset + member.bytes for member in self.members), default=0)
        return end + -end % tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True)
class Index:
    """All frames of all archives of a data set, in the order of its files."""

    schema: int = 1
    """Version of the index' form."""
    frames: tuple[Frame, ...]
    """All frames."""

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """Read `folder`/archives.json; UserError if it cannot be read, is no index, or is unsafe."""
        return cls.parse(folder, manifest.read(folder, INDEX_NAME))

    @classmethod
    def parse(cls, folder: Path, content: bytes) -> "Index":
        """The index that was read from `folder`/archives.json. UserError as in load()."""
        path = folder / INDEX_NAME
        index = manifest.decode(path, content, cls)
        manifest.check_paths(path, (member.path for frame in index.frames for member in frame.members))
        manifest.check_paths(path, {frame.archive for frame in index.frames})
        for frame in index.frames:
            largest = min(max([FRAME_BYTES, *(member.bytes for member in frame.members)]), MAX_FILE_BYTES)
            limit = largest + largest // 256 + MAX_HEADER_BYTES * len(frame.members)
            if max(frame.bytes, frame.content_bytes) > limit:
                raise ArchiveError(f"{path}: {frame.archive}: frame at byte {frame.offset} exceeds {limit} bytes")
        return index


def pack(source: Path, target: Path, *, level: int = LEVEL) -> Index:
    """Write the archives of a data set, all or none. UserError if `target` exists or a file exceeds MAX_FILE_BYTES."""
    listed = Manifest.load(source)
    files = [file for split in listed.splits.values() for file in split.files]
    large = [file for file in files if file.bytes > MAX_FILE_BYTES]
    if large:
        raise ArchiveError(f"{source / large[0].path}: {large[0].bytes} bytes; stage files of this size as they are")
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write.unfinished_folder(target) as folder:
        index = Index(frames=tuple(_write_archives(source, folder, files, level)))
        (folder / INDEX_NAME).write_bytes(msgspec.json.encode(index))
        listed.save(folder)
    return index


def verify(folder: Path) -> Index:
    """Unpack every frame in memory and compare each file with the manifest; ArchiveError for the first that differs."""
    checksums = {file.path: file.sha256 for split in Manifest.load(folder).splits.values() for file in split.files}
    index = Index.load(folder)
    for frame in progress.tracked(index.frames, "verifying"):
        for member, content in zip(frame.members, contents(frame, _read(folder, frame)), strict=True):
            if hashlib.sha256(content).hexdigest() != checksums.pop(member.path, None):
                raise ArchiveError(f"{folder / frame.archive}: {member.path}: sha256 differs; pack the data set again")
    if checksums:
        raise ArchiveError(f"{next(iter(checksums))}: in no archive of {folder}; pack the data set again")
    return index


def is_packed(folder: Path) -> bool:
    """Return whether the data set in `folder` is packed in archives."""
    return (folder / INDEX_NAME).exists()


def contents(frame: Frame, payload: bytes | memoryview) -> Iterator[memoryview]:
    """The bytes of each of the frame's members; ArchiveError if the frame is damaged."""
    try:
        if zstandard.frame_content_size(payload) != frame.content_bytes:  # known before memory is taken
            raise zstandard.ZstdError(f"not of the {frame.content_bytes} bytes that {INDEX_NAME} lists")
        content = memoryview(zstandard.ZstdDecompressor().decompress(payload))
    except zstandard.ZstdError as error:
        raise ArchiveError(f"{frame.archive}: frame at byte {frame.offset}: {error}; pack the data set again") from None
    for member in frame.members:
        yield content[member.offset : member.offset + member.bytes]


def extract(folder: Path, paths: Iterable[str], target: Path, *, index: Index | None = None) -> None:
    """Unpack the given files and read only the frames that hold them; ArchiveError if one is missing.

    index: that of the folder, if it has been read.
    """
    missing = set(paths)
    for frame in (index or Index.load(folder)).frames:
        if missing.isdisjoint(member.path for member in frame.members):
            continue
        for member, content in zip(frame.members, contents(frame, _read(folder, frame)), strict=True):
            if member.path in missing:
                (target / member.path).parent.mkdir(parents=True, exist_ok=True)
                (target / member.path).write_bytes(content)
                missing.remove(member.path)
    if missing:
        raise ArchiveError(f"{min(missing)}: in no archive of {folder}; pack the data set again")


@contextmanager
def opened(folder: Path, split: str, listed_by: Listings | None = None) -> Iterator[Path]:
    """A folder with the manifest, the first sample of a split, and the files that belong to no sample.

    This is `folder` itself, or, if that is packed, a temporary folder into which these files are unpacked.
    listed_by: manifest and index, if they have been read.
    """
    listed_by = listed_by or listings.read(folder)
    listed = listed_by.parsed(folder)
    if listed is None or listed_by.index is None:
        yield folder
        return
    shared = [file for other in listed.splits.values() if not other.num_samples for file in other.files]
    files_per_sample = -(-len(listed.split(split).files) // max(1, listed.split(split).num_samples))
    with tempfile.TemporaryDirectory(prefix="opened_") as name:
        listed.save(Path(name))
        first = listed.split(split).files[:files_per_sample]
        index = Index.parse(folder, listed_by.index)
        extract(folder, [file.path for file in (*first, *shared)], Path(name), index=index)
        yield Path(name)


def _read(folder: Path, frame: Frame) -> bytes:
    try:
        with open(folder / frame.archive, "rb", opener=regular_file.opener) as archive:
            archive.seek(frame.offset)
            return archive.read(frame.bytes)
    except OSError as error:
        raise ArchiveError(f"{folder / frame.archive}: cannot be read: {error.strerror}") from None


def _write_archives(source: Path, folder: Path, files: list[DataFile], level: int) -> Iterator[Frame]:
    """Compress frames in parallel and write them in order."""
    groups = list(_groups(files))
    console = Console(stderr=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compressed = (
            packed
            for start in range(0, len(groups), NUM_AHEAD)
            for packed in pool.map(lambda group: _frame(source, group, level), groups[start : start + NUM_AHEAD])
        )
        shown = track(compressed, "packing", len(groups), console=console, disable=not console.is_terminal)
        yield from _place(folder, shown)


def _place(folder: Path, compressed: Iterable[tuple[tuple[Member, ...], bytes]]) -> Iterator[Frame]:
    """Write compressed frames into archives of about ARCHIVE_BYTES; yields their index entries."""
    end = zstandard.ZstdCompressor().compress(bytes(2 * tarfile.BLOCKSIZE))
    compressed, number = iter(compressed), itertools.count()
    following = next(compressed, None)
    while following:
        name = f"part_{next(number):05}.tar.zst"
        with (folder / name).open("xb") as archive:
            while following and archive.tell() < ARCHIVE_BYTES:
                members, content = following
                yield Frame(archive=name, offset=archive.tell(), bytes=len(content), members=members)
                archive.write(content)
                following = next(compressed, None)
            archive.write(end)


def _groups(files: Iterable[DataFile]) -> Iterator[list[DataFile]]:
    """Consecutive files that share a frame."""
    group: list[DataFile] = []
    num_bytes = 0
    for file in files:
        if group and num_bytes + file.bytes > FRAME_BYTES:
            yield group
            group, num_bytes = [], 0
        group.append(file)
        num_bytes += file.bytes
    if group:
        yield group


def _frame(source: Path, files: list[DataFile], level: int) -> tuple[tuple[Member, ...], bytes]:
    """Members and compressed content: for each file a tar header, its bytes, and zeros to the end of a tar block."""
    content, members = bytearray(), []
    for file in files:
        header = tarfile.TarInfo(file.path)
        header.size = file.bytes
        content += header.tobuf(tarfile.PAX_FORMAT)
        members.append(Member(path=file.path, offset=len(content), bytes=file.bytes))
        content += _whole_file(source / file.path, file.bytes, file.link is True)
        content += bytes(-len(content) % tarfile.BLOCKSIZE)
    return tuple(members), zstandard.ZstdCompressor(level=level).compress(bytes(content))


def _whole_file(path: Path, num_bytes: int, is_link: bool) -> bytes:
    """The file's content; UserError if it cannot be read or has another size."""
    content = regular_file.read(path.resolve() if is_link else path, MAX_FILE_BYTES, follow=False)
    if len(content) != num_bytes:
        raise ArchiveError(f"{path}: found {len(content)} bytes, expected {num_bytes}; prepare the data set again")
    return content
