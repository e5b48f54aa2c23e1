# SPDX-License-Identifier: Apache-2.0
"""Tar shards: thousands of pictures in one file, which a parallel file system reads in long stretches.

    train/train-000000.tar       00000000.jpg, 00000000.cls, 00000001.jpg, ...      (WebDataset's naming)
    train/train-000000.idx       where each of them begins                          (DALI's index, v1.2)

A rank reads its share of an epoch from one end to the other: shards in an order drawn for the epoch, stretch after
stretch of WINDOW samples, whose order in memory is drawn too. prepare.py has shuffled the samples over the shards, so
a stretch holds all sorts of classes.
"""

import io
import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Unpack

import numpy as np

from compliance.files import atomic_write
from harness.data import checks
from harness.data.checks import DataError
from harness.data.manifest import Manifest
from harness.data.sampler import EpochBatches, Order
from imagenet_resnet.dataset import Encoded

WINDOW = 2048
"""Samples that are read at a time and shuffled among each other: about 220 MB of ImageNet."""
INDEX_VERSION = "v1.2"
PICTURE_KINDS = ("jpg", "jpeg", "png", "JPEG")
LABEL_KIND = "cls"


class ShardSet:
    """The samples of one split in the order of its shards."""

    def __init__(self, folder: Path, num_classes: int, manifest: Manifest | None = None):
        """`folder`: of the split."""
        self.folder, self.num_classes, self.manifest = folder, num_classes, manifest
        self.paths = sorted(folder.glob("*.tar"))
        extents = [read_index(path) for path in self.paths]
        self._extents = np.concatenate(extents)
        self._starts = np.concatenate([[0], np.cumsum([len(one) for one in extents])])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batches(self, **order: Unpack[Order]) -> EpochBatches:
        """Shuffled in stretches: which samples a rank takes depends on the number of ranks."""
        return checks.batches(self.folder, self, kind=self._batches, **order)

    def _batches(self, _: int, **order: Unpack[Order]) -> EpochBatches:
        return ShardBatches(self._starts, **order)

    def fetch(self, batches: Iterable[np.ndarray]) -> Iterator[Encoded]:
        """One stretch is read ahead while the last one is worked on."""
        batches = list(batches)
        order = np.concatenate(batches) if batches else np.empty(0, dtype=np.int64)
        held: dict[int, tuple[memoryview, int]] = {}
        windows = (order[start : start + WINDOW] for start in range(0, len(order), WINDOW))
        with ThreadPoolExecutor(1) as pool:
            stretches = _one_ahead(pool, self._read, windows)
            for indices in batches:
                while not held.keys() >= set(indices.tolist()):
                    held.update(next(stretches))
                samples = [held.pop(index) for index in indices.tolist()]
                yield self._encoded(indices, samples)

    def _encoded(self, indices: np.ndarray, samples: list[tuple[memoryview, int]]) -> Encoded:
        return Encoded(
            pictures=[picture for picture, _ in samples],
            labels=np.array([label for _, label in samples], dtype=np.int64),
            name=lambda number: self._name(int(indices[number])),
        )

    def _read(self, indices: np.ndarray) -> dict[int, tuple[memoryview, int]]:
        """Pictures and labels by index, with one read of each shard that a stretch touches."""
        found, indices = {}, np.sort(indices)
        shard_of = np.searchsorted(self._starts, indices, side="right") - 1
        for shard in np.unique(shard_of):
            inside = indices[shard_of == shard]
            extents = self._extents[inside]
            begin, end = extents[:, [0, 2]].min(), (extents[:, [0, 2]] + extents[:, [1, 3]]).max()
            stretch = _read_stretch(self.paths[shard], int(begin), int(end))
            for index, (start, size, label_start, label_size) in zip(
                inside.tolist(), extents - [begin, 0, begin, 0], strict=True
            ):
                text = bytes(stretch[label_start : label_start + label_size])
                found[index] = stretch[start : start + size], self._label(text, index)
        return found

    def _label(self, text: bytes, index: int) -> int:
        if not (text.strip().isdigit() and int(text) < self.num_classes):
            raise DataError(f"{self._name(index)}: label: found {text!r}, expected a number below {self.num_classes}")
        return int(text)

    def _name(self, index: int) -> str:
        shard = bisect_right(self._starts, index) - 1
        return f"{self.paths[shard]}: sample {index - self._starts[shard]}"


class ShardBatches(EpochBatches):
    """EpochBatches whose ranks read shards from one end to the other."""

    def __init__(self, starts: np.ndarray, **options):
        super().__init__(int(starts[-1]), **options)
        self._starts = starts

    def indices(self) -> list[np.ndarray]:
        """One array of sample indices for each batch."""
        if not self.shuffle:
            share = np.array_split(np.arange(self.num_samples), self.num_ranks)[self.rank]
            return [share[start : start + self.batch_size] for start in range(0, len(share), self.batch_size)]
        num_own = len(self) * self.batch_size
        share = self._shards_in_turn()[self.rank * num_own : (self.rank + 1) * num_own]
        rng = self.rng(self.rank)
        windows = [rng.permutation(share[start : start + WINDOW]) for start in range(0, len(share), WINDOW)]
        return list(np.concatenate(windows).reshape(len(self), self.batch_size))

    def __len__(self) -> int:
        if self.shuffle:
            return super().__len__()
        num_own = (self.num_samples + self.num_ranks - 1 - self.rank) // self.num_ranks
        return -(-num_own // self.batch_size)

    def _shards_in_turn(self) -> np.ndarray:
        order = self.rng().permutation(len(self._starts) - 1)
        return np.concatenate([np.arange(self._starts[shard], self._starts[shard + 1]) for shard in order])


def write_shard(path: Path, samples: Iterable[tuple[str, bytes, int]]) -> None:
    """A tar file of (key, picture file, label) and its index; both appear at once or not at all."""
    temporary = path.with_name(f".{path.name}")
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
        for key, picture, label in samples:
            for kind, content in (("jpg", picture), (LABEL_KIND, str(label).encode())):
                member = tarfile.TarInfo(f"{key}.{kind}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    temporary.replace(path)
    write_index(path)


def write_index(path: Path) -> None:
    """The index of a shard, beside it; DataError where a picture has no label."""
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                key, _, kind = member.name.partition(".")
                samples.setdefault(key, {})[kind] = member
    except tarfile.TarError as error:
        raise DataError(f"{path}: not a tar file: {error}") from None
    lines = [f"{INDEX_VERSION} {len(samples)}"]
    for key, members in samples.items():
        if LABEL_KIND not in members or not any(kind in members for kind in PICTURE_KINDS):
            raise DataError(f"{path}: sample {key}: found {sorted(members)}, expected a picture and its .{LABEL_KIND}")
        parts = (f"{kind} {one.offset_data} {one.size} {one.name}" for kind, one in members.items())
        lines.append(" ".join(parts))
    atomic_write.write(index_path(path), "\n".join([*lines, ""]).encode())


def read_index(path: Path) -> np.ndarray:
    """(samples, 4) int64: offset and size of the picture, offset and size of the label; DataError."""
    index = index_path(path)
    try:
        head, *lines = index.read_text().splitlines()
    except FileNotFoundError:
        raise DataError(f"{index}: missing; `python -m imagenet_resnet.prepare --index FOLDER` writes it") from None
    except ValueError:
        raise DataError(f"{index}: empty or not text, expected an index {INDEX_VERSION}") from None
    if head != f"{INDEX_VERSION} {len(lines)}":
        raise DataError(
            f"{index}: found {head!r:.60} before {len(lines)} samples, expected {INDEX_VERSION} and their number"
        )
    if not lines:
        raise DataError(f"{path}: found a shard without samples, expected at least one; remove it or make it again")
    try:
        extents = np.array([_extents(line.split(" ")) for line in lines], dtype=np.int64)
    except (KeyError, ValueError, IndexError, StopIteration):
        raise DataError(f"{index}: found a line that is no sample's, expected kind, offset, size and name") from None
    if extents[:, [0, 2]].max(initial=0) > path.stat().st_size:
        raise DataError(f"{path}: found {path.stat().st_size} bytes, and its index goes beyond; copy it again")
    return extents


def index_path(path: Path) -> Path:
    return path.with_suffix(".idx")


def _extents(words: list[str]) -> tuple[int, ...]:
    members = {words[first]: (int(words[first + 1]), int(words[first + 2])) for first in range(0, len(words), 4)}
    picture = next(members[kind] for kind in PICTURE_KINDS if kind in members)
    return (*picture, *members[LABEL_KIND])


def _one_ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable) -> Iterator:
    """function(item) for each, the next of which is on its way while one is used."""
    coming = None
    for item in items:
        following = pool.submit(function, item)
        if coming is not None:
            yield coming.result()
        coming = following
    if coming is not None:
        yield coming.result()


def _read_stretch(path: Path, begin: int, end: int) -> memoryview:
    with path.open("rb", buffering=0) as stream:
        stream.seek(begin)
        stretch = bytearray(end - begin)
        if stream.readinto(stretch) < len(stretch):
            raise DataError(f"{path}: ends before its index does; copy it again")
    return memoryview(stretch)
