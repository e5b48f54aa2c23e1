# SPDX-License-Identifier: Apache-2.0
"""Many small files in few archives: tar in zstd frames of a few files each, and an index that finds them.

    python -m harness.archive data packed         # packed/part_00000.tar.zst, ..., packed/archives.json, manifest.json
    tar --zstd -xf packed/part_00000.tar.zst      # each is an ordinary compressed archive

A parallel file system opens a few large files where it would open a million small ones, and the network carries them
compressed (MLPerf HPC paper, 4.1.1: CosmoFlow 88 % less, DeepCAM 23 %). Every frame stands for itself: any file is
reached by reading one frame, and frames are unpacked side by side. harness.staging takes either form, and so does a
benchmark's --data where the system has a staging_folder.
"""

import argparse
import itertools
import os
import shutil
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

from compliance.files.errors import UserError
from harness.data import manifest
from harness.data.manifest import DataFile, Manifest

INDEX_NAME = "archives.json"
FRAME_BYTES = 1 << 20
"""Content of a frame, unless a single file is larger: small enough to fetch one file, large enough to compress."""
ARCHIVE_BYTES = 4 << 30
MAX_FILE_BYTES = 1 << 30
"""A frame is unpacked in memory; larger files gain nothing from an archive."""
LEVEL = 3
NUM_AHEAD = 64
"""Frames that are in memory at a time."""


class ArchiveError(UserError):
    """Archives that cannot be written or read."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file in a frame."""

    path: str
    """Relative to the data set's folder."""
    offset: int
    """Of its first byte in the frame's content."""
    bytes: int
    """Size."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A stretch of an archive that can be unpacked by itself."""

    archive: str
    """File name of the archive."""
    offset: int
    """Of the frame's first byte in the archive."""
    bytes: int
    """Compressed size."""
    members: tuple[Member, ...]


@dataclass(frozen=True, kw_only=True)
class Index:
    """All frames of all archives of a data set, in the order of its files."""

    schema: int = 1
    frames: tuple[Frame, ...]

    @classmethod
    def load(cls, folder: Path) -> "Index":
        path = folder / INDEX_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ArchiveError(f"{path}: not an index of archives: {error}; pack the data set again") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; `arguments` in place of the command line's."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.archive", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="prepared data set with its manifest.json")
    parser.add_argument("target", type=Path, metavar="TARGET", help="folder of archives to write")
    parser.add_argument("--level", type=int, default=LEVEL, metavar="N", help="of zstd's compression (%(default)s)")
    options = parser.parse_args(arguments)
    index = pack(options.source, options.target, level=options.level)
    num_bytes = sum(frame.bytes for frame in index.frames)
    num_files = sum(len(frame.members) for frame in index.frames)
    print(f"{options.target}: {num_files} files in {num_bytes / 1e6:.1f} MB")


def pack(source: Path, target: Path, *, level: int = LEVEL) -> Index:
    """Write the archives of a data set at once or not at all; ArchiveError where `target` exists or a file is large."""
    listed = Manifest.load(source)
    files = [file for split in listed.splits.values() for file in split.files]
    large = [file for file in files if file.bytes > MAX_FILE_BYTES]
    if large:
        raise ArchiveError(f"{source / large[0].path}: {large[0].bytes} bytes; stage files of this size as they are")
    if target.exists():
        raise ArchiveError(f"{target}: exists; remove it, or choose another folder")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        index = Index(frames=tuple(_write_archives(source, partial, files, level)))
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ArchiveError(f"{error.filename or target}: {error.strerror}") from None
    (partial / INDEX_NAME).write_bytes(msgspec.json.encode(index))
    shutil.copyfile(source / manifest.FILE_NAME, partial / manifest.FILE_NAME)
    partial.replace(target)
    return index


def is_packed(folder: Path) -> bool:
    """Whether the data set in `folder` lies in archives."""
    return (folder / INDEX_NAME).exists()


def contents(frame: Frame, payload: bytes | memoryview) -> Iterator[memoryview]:
    """The bytes of each of the frame's members; ArchiveError where the frame is damaged."""
    try:
        content = memoryview(zstandard.ZstdDecompressor().decompress(payload))
    except zstandard.ZstdError as error:
        raise ArchiveError(f"{frame.archive}: frame at byte {frame.offset}: {error}; pack the data set again") from None
    for member in frame.members:
        yield content[member.offset : member.offset + member.bytes]


def extract(folder: Path, paths: Iterable[str], target: Path) -> None:
    """Unpack some files only, reading the frames that hold them; ArchiveError where one cannot be had."""
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
    """Where the manifest and the first sample of a split can be read, and what belongs to no sample.

    `folder` itself, or for the time being another one, which they are unpacked into.
    """
    if not is_packed(folder):
        yield folder
        return
    listed = Manifest.load(folder)
    of_no_sample = [file for other in listed.splits.values() if not other.num_samples for file in other.files]
    files_per_sample = -(-len(listed.split(split).files) // max(1, listed.split(split).num_samples))
    with tempfile.TemporaryDirectory(prefix="opened_") as name:
        listed.save(Path(name))
        first = listed.split(split).files[:files_per_sample]
        extract(folder, [file.path for file in (*first, *of_no_sample)], Path(name))
        yield Path(name)


def _read(folder: Path, frame: Frame) -> bytes:
    try:
        with (folder / frame.archive).open("rb") as archive:
            archive.seek(frame.offset)
            return archive.read(frame.bytes)
    except OSError as error:
        raise ArchiveError(f"{folder / frame.archive}: cannot be read: {error.strerror}") from None


def _write_archives(source: Path, folder: Path, files: list[DataFile], level: int) -> Iterator[Frame]:
    """Compress frames side by side, write them one after another."""
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
    """Neighbouring files that share a frame."""
    group, num_bytes = [], 0
    for file in files:
        if group and num_bytes + file.bytes > FRAME_BYTES:
            yield group
            group, num_bytes = [], 0
        group.append(file)
        num_bytes += file.bytes
    if group:
        yield group


def _frame(source: Path, files: list[DataFile], level: int) -> tuple[tuple[Member, ...], bytes]:
    """Members and compressed content: for each file a tar header, its bytes, and zeros up to a block."""
    content, members = bytearray(), []
    for file in files:
        header = tarfile.TarInfo(file.path)
        header.size = file.bytes
        content += header.tobuf(tarfile.PAX_FORMAT)
        members.append(Member(path=file.path, offset=len(content), bytes=file.bytes))
        found = (source / file.path).read_bytes()
        if len(found) != file.bytes:
            raise ArchiveError(
                f"{source / file.path}: found {len(found)} bytes, expected {file.bytes}; prepare it again"
            )
        content += found
        content += bytes(-len(content) % tarfile.BLOCKSIZE)
    return tuple(members), zstandard.ZstdCompressor(level=level).compress(bytes(content))
