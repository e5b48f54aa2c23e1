# SPDX-License-Identifier: Apache-2.0
"""Many small files in few archives: tar files in zstd frames of a few files each, with an index.

    python -m harness.archive data packed         # packed/part_00000.tar.zst, ..., packed/archives.json, manifest.json
    tar --zstd -xf packed/part_00000.tar.zst      # each is an ordinary compressed archive

A parallel file system then opens a few large files instead of a million small ones, and the network carries compressed
data (MLPerf HPC paper, section 4.1.1: 88 % less for CosmoFlow, 23 % for DeepCAM). Every frame can be unpacked by
itself, so that any file is reached by reading one frame, and frames are unpacked in parallel. harness.staging accepts
both forms, and so does a benchmark's --data if the system has a staging_folder.
"""

import argparse
import itertools
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zstandard
from rich.console import Console
from rich.progress import track

from compliance.files import atomic_write
from compliance.files.errors import UserError
from harness.data.manifest import DataFile, Manifest

INDEX_NAME = "archives.json"
FRAME_BYTES = 1 << 20
"""Content of a frame, unless a single file is larger: small enough to fetch one file, large enough to compress."""
ARCHIVE_BYTES = 4 << 30
"""Size from which a new archive is begun."""
MAX_FILE_BYTES = 1 << 30
"""Limit for files in an archive: frames are unpacked in memory, and larger files gain nothing from archives."""
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
    offset: int
    """Byte offset of the file in the decompressed frame."""
    bytes: int
    """Size of the file."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A range of an archive that can be unpacked by itself."""

    archive: str
    """File name of the archive."""
    offset: int
    """Byte offset of the frame in the archive."""
    bytes: int
    """Compressed size."""
    members: tuple[Member, ...]
    """Files in the frame, in the order of the manifest."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """All frames of all archives of a data set, in the order of its files."""

    schema: int = 1
    """Version of the index' form."""
    frames: tuple[Frame, ...]
    """All frames."""

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """Read `folder`/archives.json; ArchiveError if it cannot be read or is no index."""
        path = folder / INDEX_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ArchiveError(f"{path}: not an index of archives: {error}; pack the data set again") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; `arguments` replaces the command line's."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.archive", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="prepared data set with its manifest.json")
    parser.add_argument("target", type=Path, metavar="TARGET", help="folder of archives to write")
    parser.add_argument("--level", type=int, default=LEVEL, metavar="N", help="level of zstd (%(default)s)")
    options = parser.parse_args(arguments)
    index = pack(options.source, options.target, level=options.level)
    num_bytes = sum(frame.bytes for frame in index.frames)
    num_files = sum(len(frame.members) for frame in index.frames)
    print(f"{options.target}: {num_files} files in {num_bytes / 1e6:.1f} MB")


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


def is_packed(folder: Path) -> bool:
    """Return whether the data set in `folder` is packed in archives."""
    return (folder / INDEX_NAME).exists()


def contents(frame: Frame, payload: bytes | memoryview) -> Iterator[memoryview]:
    """The bytes of each of the frame's members; ArchiveError if the frame is damaged."""
    try:
        content = memoryview(zstandard.ZstdDecompressor().decompress(payload))
    except zstandard.ZstdError as error:
        raise ArchiveError(f"{frame.archive}: frame at byte {frame.offset}: {error}; pack the data set again") from None
    for member in frame.members:
        yield content[member.offset : member.offset + member.bytes]


def extract(folder: Path, paths: Iterable[str], target: Path) -> None:
    """Unpack the given files and read only the frames that hold them; ArchiveError if one is missing."""
    missing = set(paths)
    for frame in Index.load(folder).frames:
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
def opened(folder: Path, split: str) -> Iterator[Path]:
    """A folder with the manifest, the first sample of a split, and the files that belong to no sample.

    This is `folder` itself, or, if that is packed, a temporary folder into which these files are unpacked.
    """
    if not is_packed(folder):
        yield folder
        return
    listed = Manifest.load(folder)
    shared = [file for other in listed.splits.values() if not other.num_samples for file in other.files]
    files_per_sample = -(-len(listed.split(split).files) // max(1, listed.split(split).num_samples))
    with tempfile.TemporaryDirectory(prefix="opened_") as name:
        listed.save(Path(name))
        first = listed.split(split).files[:files_per_sample]
        extract(folder, [file.path for file in (*first, *shared)], Path(name))
        yield Path(name)


def _read(folder: Path, frame: Frame) -> bytes:
    try:
        with (folder / frame.archive).open("rb") as archive:
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
        content += _whole_file(source / file.path, file.bytes)
        content += bytes(-len(content) % tarfile.BLOCKSIZE)
    return tuple(members), zstandard.ZstdCompressor(level=level).compress(bytes(content))


def _whole_file(path: Path, num_bytes: int) -> bytes:
    """The file's content; ArchiveError if it cannot be read or has another size."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) != num_bytes:
        raise ArchiveError(f"{path}: found {len(content)} bytes, expected {num_bytes}; prepare the data set again")
    return content
