# SPDX-License-Identifier: Apache-2.0
"""The manifest of a prepared data set: `manifest.json` beside its splits, and the check of the files against it.

    manifest = Manifest.load(folder)                    # ManifestError names the file and the fault
    manifest.verify(folder, checksums=True)             # reads every byte; without checksums, existence and size

    python -m harness.data.manifest verify DATA         # reads every byte of a data set; exit code 2 for faults

All four benchmarks write one, so that a training run knows counts, shapes and sizes before its clock starts. Manifests
come from other people's disks: paths that leave the data set's folder, links, pipes and negative sizes are refused.
"""

import hashlib
import itertools
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from compliance import command_line
from compliance.files import atomic_write, regular_file
from compliance.files.errors import UserError
from harness import cli


def options() -> command_line.Parser:
    """Options of the command."""
    parser = command_line.command("harness.data.manifest", __doc__)
    verify = parser.add_subparsers(dest="command", required=True).add_parser("verify", help="read every byte")
    verify.add_argument("data", type=Path, metavar="DATA", help="folder of a prepared data set")
    return parser


cli.answer_early(__name__, options())

from harness import progress

FILE_NAME = "manifest.json"
INDEX_NAME = "archives.json"
"""Index of a packed data set; see harness/archive/archive.py."""
SCHEMA = 1
MAX_BYTES = 1 << 29
"""Limit for a manifest; that of ImageNet's 1.3 million files has 200 MB."""

Count = Annotated[int, msgspec.Meta(ge=0)]


Kind = TypeVar("Kind")


class ManifestError(UserError):
    """A manifest that cannot be read, or a data set that differs from its manifest."""


@dataclass(frozen=True, kw_only=True)
class Array:
    """One array of every sample."""

    dtype: str
    """numpy's name of the element type, such as "int16"."""
    shape: tuple[Count | None, ...]
    """Extents of one sample; null if samples differ in this dimension."""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a split."""

    path: str
    """Path relative to the data set's folder, with forward slashes."""
    bytes: Count
    """Size of the file."""
    sha256: str
    """Hexadecimal checksum of the whole file."""
    link: bool | msgspec.UnsetType = msgspec.UNSET
    """True if the file was a link when the manifest was written, as ewa_fasterrcnn.prepare makes them."""
    num_samples: Count | msgspec.UnsetType = msgspec.UNSET
    """Number of samples in the file, if it is a shard."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The samples of one purpose, such as "train" or "validation"."""

    num_samples: Count
    """Number of samples; a sample may have several files, and a file several samples."""
    files: tuple[DataFile, ...]
    """Files in the order of the samples."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of a prepared data set."""

    schema: int = SCHEMA
    """Version of the manifest's form."""
    benchmark: str
    """The benchmark that reads it, such as "cosmoflow"."""
    synthetic: bool
    """True for simulated or invented data; results on them are marked as synthetic."""
    format: str
    """Form of a sample on disk, such as "hdf5", "numpy", "tfrecord" or "jpeg"."""
    compression: str | None = None
    """Compression of whole files: "gzip" or null."""
    arrays: dict[str, Array]
    """The arrays of a sample by name."""
    splits: dict[str, Split]
    """The splits by name."""
    provenance: dict[str, str | int | float | bool | None]
    """Origin of the data and parameters of their preparation: source, seed and others."""
    tool: str
    """The command that wrote it, such as "cosmoflow.prepare"."""
    tool_version: str
    """Version of this package: see tool_version()."""

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read `folder`/manifest.json. ManifestError if it is missing, broken, unsafe or of another schema."""
        return cls.parse(folder, read(folder))

    @classmethod
    def parse(cls, folder: Path, content: bytes) -> "Manifest":
        """The manifest that was read from `folder`/manifest.json. ManifestError as in load()."""
        path = Path(folder) / FILE_NAME
        manifest = decode(path, content, cls)
        if manifest.schema != SCHEMA:
            raise ManifestError(
                f"{path}: schema: found {manifest.schema}, expected {SCHEMA}; prepare the data set again"
            )
        check_paths(path, (file.path for split in manifest.splits.values() for file in split.files))
        return manifest

    def save(self, folder: Path) -> Path:
        """Write `folder`/manifest.json whole or not at all; returns its path."""
        path = Path(folder) / FILE_NAME
        if path.is_symlink():
            raise ManifestError(f"{path}: is a link, which is not written through; remove it")
        atomic_write.write(path, msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        return path

    def split(self, name: str) -> Split:
        """The split called `name`; ManifestError names the existing splits."""
        if name not in self.splits:
            raise ManifestError(f"split: found no {name!r} in the manifest, expected one of {sorted(self.splits)}")
        return self.splits[name]

    def verify(
        self,
        folder: Path,
        *,
        split: str | None = None,
        checksums: bool = False,
        part: slice = slice(None),
        advance: Callable[[], object] = lambda: None,
    ) -> None:
        """Raise ManifestError, which names up to 10 faults, if files of `folder` differ from the manifest.

        Sizes alone are a cheap check for the start of a run; `checksums` reads every byte. `split` restricts the check
        to one split. `part` selects files of each split, so that ranks share the work: slice(rank, None, num_ranks).
        `advance` is called once per file.
        """
        splits = [self.split(split)] if split else self.splits.values()
        files = [file for chosen in splits for file in chosen.files[part]]
        faults = list(itertools.islice(_faults(Path(folder), files, checksums=checksums, advance=advance), 10))
        if faults:
            raise ManifestError("\n".join(faults))


def read(folder: Path, name: str = FILE_NAME) -> bytes:
    """The content of a data set's manifest or index. ManifestError if it is missing or cannot be read."""
    path = Path(folder) / name
    if not path.exists():
        raise ManifestError(f"{path}: no manifest; prepare the data set first, or check the folder")
    try:
        return regular_file.read(path, MAX_BYTES)
    except UserError as error:
        raise ManifestError(str(error)) from None


def decode(path: Path, content: bytes, kind: type[Kind]) -> Kind:
    """The JSON object in the content of a file of somebody else. ManifestError if it is no such object."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{path}: not valid: {error}; prepare the data set again") from None


def check_paths(listing: Path, paths: Iterable[str]) -> None:
    """ManifestError if a path of the file `listing` leaves its folder, is hidden or reserved, or appears twice."""
    known = {FILE_NAME, INDEX_NAME}
    for path in paths:
        if path in known:
            raise ManifestError(f"{listing}: path: {path!r} is listed twice or reserved; prepare the data set again")
        if path.startswith(".") or "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise ManifestError(f"{listing}: path: found {path!r}, expected a relative path without '..'")
        known.add(path)


def describe(folder: Path, path: Path, *, num_samples: int | msgspec.UnsetType = msgspec.UNSET) -> DataFile:
    """The manifest entry of `path`, a file below `folder`; reads all of it. `num_samples`: of a shard."""
    return DataFile(
        path=path.relative_to(folder).as_posix(),
        bytes=path.stat().st_size,
        sha256=sha256(path),
        link=path.is_symlink() or msgspec.UNSET,
        num_samples=num_samples,
    )


def sha256(path: Path) -> str:
    """SHA-256 of a whole file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tool_version() -> str:
    """Version of the installed package; "uninstalled checkout" if it is not installed."""
    try:
        return version("hpc-ai-bench")
    except PackageNotFoundError:
        return "uninstalled checkout"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; None for those of the command line."""
    data = options().parse_args(arguments).data
    return cli.report("verify", lambda: f"{data}: {_summary(verify_whole(data))}")


def verify_whole(folder: Path) -> Manifest:
    """Read every file of a prepared data set; ManifestError names the files that differ or are missing."""
    listed = Manifest.load(folder)
    if (folder / INDEX_NAME).exists():
        raise ManifestError(f"{folder}: is packed in archives; use python -m harness.archive --verify {folder}")
    with progress.counted("verifying", sum(len(split.files) for split in listed.splits.values())) as advance:
        listed.verify(folder, checksums=True, advance=advance)
    return listed


def _summary(listed: Manifest) -> str:
    files = [file for split in listed.splits.values() for file in split.files]
    return f"{len(files)} files, {sum(file.bytes for file in files) / 1e9:.3f} GB, are as the manifest lists them"


def _faults(
    folder: Path, files: Iterable[DataFile], *, checksums: bool, advance: Callable[[], object]
) -> Iterator[str]:
    """One line per faulty file; threads overlap the latencies of a parallel file system."""
    files = iter(files)
    with ThreadPoolExecutor(max_workers=8) as pool:
        while batch := list(itertools.islice(files, 1024)):
            for found in pool.map(lambda file: fault(folder / file.path, file, checksums=checksums), batch):
                advance()
                if found:
                    yield found


def fault(path: Path, file: DataFile, *, checksums: bool) -> str | None:
    """The difference of one file from its entry in the manifest, as a line of text; None if there is none."""
    try:
        status = path.stat() if file.link is True else path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return f"{path}: not a regular file, and {FILE_NAME} lists no link; copy or prepare it again"
        num_bytes = status.st_size
        if num_bytes != file.bytes:
            return f"{path}: size: found {num_bytes} bytes, expected {file.bytes}; copy or prepare it again"
        if checksums and (checksum := sha256(path)) != file.sha256:
            return f"{path}: sha256: found {checksum}, expected {file.sha256}; copy or prepare it again"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}), but the manifest lists it with {file.bytes} bytes"
    return None


if __name__ == "__main__":
    sys.exit(main())
