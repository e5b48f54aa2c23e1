# SPDX-License-Identifier: Apache-2.0
"""Image folders: <split>/<class>/<picture>. Labels count the training classes in the order of their names."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from harness.data import checks
from harness.data.checks import DataError
from harness.data.manifest import Manifest
from harness.data.sampler import EpochBatches, Order
from imagenet_resnet import jpeg
from imagenet_resnet.dataset import Encoded

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


class PictureFolder:
    """Samples by class and name; in training any sample may follow any other."""

    def __init__(self, folder: Path, split: str, manifest: Manifest | None = None):
        self.folder, self.manifest = folder / split, manifest
        classes = class_names(folder, manifest)
        number = {name: label for label, name in enumerate(classes)}
        self.num_classes = len(classes)
        self.paths = [str(path) for path in _paths(folder, split, manifest)]
        if not self.paths:
            raise DataError(f"{folder / split}: found no pictures, expected <class>/<picture> with {sorted(SUFFIXES)}")
        names = [path.rsplit("/", 2)[1] for path in self.paths]
        if strangers := set(names) - number.keys():
            found = f"found class {min(strangers)!r}, which train/ does not have"
            raise DataError(f"{folder / split}: {found}; a class must be trained before it is evaluated")
        self.labels = np.array([number[name] for name in names], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, **order: Unpack[Order]) -> EpochBatches:
        """Shuffled over the whole split: the same global batches for any number of ranks."""
        return checks.batches(self.folder, self, **order)

    def fetch(self, batches: Iterable[np.ndarray]) -> Iterator[Encoded]:
        for indices in batches:
            paths = [self.paths[index] for index in indices]
            yield Encoded(pictures=_Files(paths), labels=self.labels[indices], name=paths.__getitem__)


class _Files(Sequence):
    """Files that are read when they are asked for."""

    def __init__(self, paths: Sequence[str]):
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> bytes:
        return jpeg.read(self._paths[number])


def class_names(folder: Path, manifest: Manifest | None) -> list[str]:
    """Names of the training classes in the order of their labels."""
    if manifest:
        return sorted({file.path.split("/")[1] for file in manifest.split("train").files})
    with os.scandir(folder / "train") as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _paths(folder: Path, split: str, manifest: Manifest | None) -> Iterator[Path]:
    if manifest:
        yield from (folder / file.path for file in manifest.split(split).files)
        return
    for class_folder in sorted(path for path in (folder / split).iterdir() if path.is_dir()):
        with os.scandir(class_folder) as entries:
            names = sorted(entry.name for entry in entries if Path(entry.name).suffix.lower() in SUFFIXES)
        yield from (class_folder / name for name in names)
