# SPDX-License-Identifier: Apache-2.0
"""The manifest of a prepared data set: what `manifest.json` beside its splits says, and whether the files agree.

    manifest = Manifest.load(folder)                    # ManifestError names the file and the fault
    manifest.verify(folder, checksums=True)             # every byte, or only existence and size

All four benchmarks write one, so that a training run knows counts, shapes and sizes before its clock starts.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

FILE_NAME = "manifest.json"
SCHEMA = 1


class ManifestError(ValueError):
    """A manifest that cannot be read, or a data set that is not what its manifest says."""


@dataclass(frozen=True, kw_only=True)
class Array:
    """One array of every sample."""

    dtype: str
    """numpy's name of the element type: "int16"."""
    shape: tuple[int | None, ...]
    """Extents of one sample; null where samples differ."""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a split."""

    path: str
    """Relative to the data set's folder, with forward slashes."""
    bytes: int
    """Size."""
    sha256: str
    """Hexadecimal checksum of the whole file."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The samples of one purpose: "train", "validation"."""

    num_samples: int
    """Samples, which may be fewer or more than files."""
    files: tuple[DataFile, ...]
    """In sample order."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A prepared data set, described."""

    schema: int = SCHEMA
    """Version of this description."""
    benchmark: str
    """Which benchmark reads it: "cosmoflow"."""
    synthetic: bool
    """True where the data were simulated or invented here: results on them are marked so."""
    format: str
    """Form of a sample on disk: "hdf5", "numpy", "tfrecord", "jpeg"."""
    compression: str | None = None
    """Whole-file compression: "gzip", or null."""
    arrays: dict[str, Array]
    """The arrays of a sample by name."""
    splits: dict[str, Split]
    """The splits by name."""
    provenance: dict[str, str | int | float | bool | None]
    """Where the data came from and how they were made: source, seed, parameters."""
    tool: str
    """The command that wrote it: "cosmoflow.prepare"."""
    tool_version: str
    """Version of this package, see `tool_version()`."""

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read `folder`/manifest.json. ManifestError where it is missing, broken or of another schema."""
        path = Path(folder) / FILE_NAME
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            raise ManifestError(f"{path}: no manifest; prepare the data set first, or check the folder") from None
        except OSError as error:
            raise ManifestError(f"{path}: cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: not a manifest: {error}") from None
        if manifest.schema != SCHEMA:
            raise ManifestError(
                f"{path}: schema: found {manifest.schema}, expected {SCHEMA}; prepare the data set again"
            )
        return manifest

    def save(self, folder: Path) -> Path:
        """Write `folder`/manifest.json at once or not at all; returns its path."""
        path = Path(folder) / FILE_NAME
        temporary = path.with_name(f".{FILE_NAME}.{os.getpid()}")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        temporary.replace(path)
        return path

    def split(self, name: str) -> Split:
        """The split called `name`; ManifestError naming the splits there are."""
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
        """Raise ManifestError naming the first faults where files of `folder` differ from the manifest.

        Sizes alone are a cheap check for the start of a run; `checksums` reads every byte. `split` leaves the others
        out; `part` picks files of each, so that ranks can share the work: slice(rank, None, num_ranks). `advance` is
        called once a file.
        """
        splits = [self.split(split)] if split else self.splits.values()
        files = [file for chosen in splits for file in chosen.files[part]]
        faults = _faults(Path(folder), files, checksums=checksums, advance=advance)
        found = list(itertools.islice(faults, 10))
        if found:
            raise ManifestError("\n".join(found))


def describe(folder: Path, path: Path) -> DataFile:
    """The manifest's line about `path`, a file below `folder`: reads all of it."""
    return DataFile(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=sha256(path))


def sha256(path: Path) -> str:
    """Checksum of a whole file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tool_version() -> str:
    """Version of the installed package, or that of a checkout which was never installed."""
    try:
        return version("hpc-ai-bench")
    except PackageNotFoundError:
        return "uninstalled checkout"


def _faults(
    folder: Path, files: Iterable[DataFile], *, checksums: bool, advance: Callable[[], object]
) -> Iterator[str]:
    """What is wrong with the files, a line each; threads overlap the waits on a parallel file system."""
    files = iter(files)
    with ThreadPoolExecutor(max_workers=8) as pool:
        while batch := list(itertools.islice(files, 1024)):
            for fault in pool.map(lambda file: _fault(folder / file.path, file, checksums), batch):
                advance()
                if fault:
                    yield fault


def _fault(path: Path, file: DataFile, checksums: bool) -> str | None:
    """What is wrong with one file, or None."""
    try:
        num_bytes = path.stat().st_size
        if num_bytes != file.bytes:
            return f"{path}: size: found {num_bytes} bytes, expected {file.bytes}; copy or prepare it again"
        if checksums and (found := sha256(path)) != file.sha256:
            return f"{path}: sha256: found {found}, expected {file.sha256}; copy or prepare it again"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}), but the manifest lists it with {file.bytes} bytes"
    return None
