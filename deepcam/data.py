# SPDX-License-Identifier: Apache-2.0
"""The DeepCAM data set: one interface over HDF5, numpy and fused numpy files.

    dataset = open_split("data", "train")

A data set is a folder with `train/`, `validation/` and `stats.h5`, and the `manifest.json` that prepare.py and
synthesize.py write; without a manifest the files found are the data set.

Shape legend: N samples, H x W pixels, C = 16 channels.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from deepcam import sample_files
from deepcam.channel_statistics import FILE_NAME as STATISTICS_NAME
from deepcam.channel_statistics import SPLIT as STATISTICS_SPLIT
from deepcam.channel_statistics import Statistics, StatisticsError
from deepcam.sample_files import FORMATS, Sample, SampleError, SampleFormat
from harness.archive import archive
from harness.data import checks, listings, manifest, node_memory
from harness.data.checks import DataError
from harness.data.listings import Listings
from harness.data.manifest import Manifest, ManifestError
from harness.data.node_parts import NodePart
from harness.distributed.node_group import NodeGroup

Batch = tuple[torch.Tensor, torch.Tensor]
TOLERANCE = {"train": 0.01, "validation": 10.0}
"""By how many of its ranges a channel may leave stats.h5, which was computed on the training samples. Rain has a long
tail: among few training samples the next storm can be several times as wet as all before."""


def open_split(
    folder: Path | str, split: str, *, listed_by: Listings | None = None, rank: int = 0, num_ranks: int = 1
) -> "Dataset":
    """The samples of one split ("train" or "validation"), checked as far as it is cheap.

    With a manifest: every file is there with its size, each rank looking at its share, and stats.h5 is the one that was
    written with them. Without: the files found have one form and are complete. Either way the first sample is read and
    must lie within stats.h5. Of a data set in archives nothing else can be read until it has been staged: see
    Dataset.move(). Raises DataError.
    """
    folder = Path(folder)
    try:
        listed_by = listed_by or listings.read(folder)
        with archive.opened(folder, split, listed_by) as here:
            listed = listed_by.parsed(folder)
            dataset = _open(here, split, listed, part=slice(rank, None, num_ranks) if here == folder else slice(1))
            dataset.folder = folder
            return dataset
    except (ManifestError, SampleError, StatisticsError) as error:
        raise DataError(str(error)) from None


def _open(folder: Path, split: str, listed: Manifest | None, *, part: slice) -> "Dataset":
    checks.check_split(folder, split)
    if listed:
        listed.verify(folder, split=split, part=slice(None) if NodePart.of(listed) else part)
        listed.verify(folder, split=STATISTICS_SPLIT, checksums=True)
    sample_format, identifiers = _listed(folder, split, listed) if listed else _found(folder / split)
    dataset = Dataset(
        folder=folder,
        split=split,
        sample_format=sample_format,
        identifiers=identifiers,
        statistics=Statistics.load(folder / STATISTICS_NAME),
        manifest=listed,
    )
    dataset.check_statistics(TOLERANCE[split])
    return dataset


class Dataset(torch.utils.data.Dataset):
    """Samples in a fixed order: sample i is (fields_HWC float32, labels_HW uint8), as numpy arrays."""

    def __init__(
        self,
        *,
        folder: Path,
        split: str,
        sample_format: SampleFormat,
        identifiers: list[str],
        statistics: Statistics,
        manifest: Manifest | None = None,
    ) -> None:
        self.folder, self.split = folder, split
        """The data set, and which of its splits this is."""
        self.sample_format, self.identifiers = sample_format, identifiers
        self.statistics, self.manifest = statistics, manifest
        self.sample_shape = sample_files.read(sample_format, folder / split, identifiers[0])[0].shape
        """(H, W, 16)."""
        self._cache: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def cached(self) -> bool:
        """True if samples come from memory rather than from files."""
        return self._cache is not None

    def __len__(self) -> int:
        return len(self.identifiers)

    def __getitem__(self, index: int) -> Sample:
        """One sample; SampleError where its file is broken or of another size than the first sample."""
        return self._read(index, None)

    def __getitems__(self, indices: list[int]) -> Batch | SampleError:
        """A whole batch, which torch's DataLoader asks for. An error is a value here, for Loader to raise: a worker
        process would bury its text under a traceback."""
        fields_NHWC = torch.empty(len(indices), *self.sample_shape)
        labels_NHW = torch.empty(len(indices), *self.sample_shape[:2], dtype=torch.uint8)
        for place, index in enumerate(indices):
            slot = fields_NHWC[place].numpy()
            try:
                fields_HWC, labels_HW = self._read(index, slot)
            except SampleError as error:
                return error
            if fields_HWC is not slot:
                slot[...] = fields_HWC
            labels_NHW[place] = torch.from_numpy(labels_HW)
        return fields_NHWC, labels_NHW

    def _read(self, index: int, out: np.ndarray | None) -> Sample:
        """A sample from memory or from its files; into `out` if that can be, see samples.read."""
        if self._cache is not None:
            fields_NHWC, labels_NHW = self._cache
            return fields_NHWC[index], labels_NHW[index]
        fields_HWC, labels_HW = sample_files.read(
            self.sample_format, self.folder / self.split, self.identifiers[index], out
        )
        if fields_HWC.shape != self.sample_shape:
            path = self.paths(index)[0]
            raise SampleError(f"{path}: fields: found shape {fields_HWC.shape}, expected {self.sample_shape}")
        return fields_HWC, labels_HW

    def paths(self, index: int) -> list[Path]:
        """The files of one sample."""
        return self.sample_format.paths(self.folder / self.split, self.identifiers[index])

    def check_statistics(self, tolerance: float) -> None:
        """Raise StatisticsError where stats.h5 cannot be this data set's: see Statistics.check_covers."""
        fields_HWC, _ = self[0]
        self.statistics.check_covers(fields_HWC, sample=self.paths(0)[0], tolerance=tolerance)

    def move(self, folder: Path) -> None:
        """Read from a copy of the data set, or from a node part of it, from now on."""
        self.folder = folder
        if self.manifest:
            self.manifest = Manifest.load(folder)
            _, self.identifiers = _listed(folder, self.split, self.manifest)

    def fill_cache(self, node: NodeGroup) -> None:
        """Read every sample into memory of the node; each rank reads a part. Raises DataError on all ranks.

        A collective call of the ranks of a node, which then hold one copy together.
        """
        num_pixels = len(self) * int(np.prod(self.sample_shape[:2]))
        with node.agreed():
            checks.check_memory(self.folder / self.split, num_pixels * (4 * self.sample_shape[2] + 1))
        fields_NHWC = node_memory.array(node, (len(self), *self.sample_shape), np.float32)
        labels_NHW = node_memory.array(node, (len(self), *self.sample_shape[:2]), np.uint8)
        with node.agreed():
            for index in range(node.index, len(self), node.count):
                fields_NHWC[index], labels_NHW[index] = self[index]
        self._cache = fields_NHWC, labels_NHW


def _listed(folder: Path, split: str, listed: Manifest) -> tuple[SampleFormat, list[str]]:
    """Form and samples of a split as its manifest lists them."""
    checks.check_form(folder, listed, "deepcam", FORMATS)
    sample_format = FORMATS[listed.format]
    identifiers = _identifiers(sample_format, (Path(file.path).name for file in listed.split(split).files))
    if not identifiers or len(identifiers) != listed.split(split).num_samples:
        expected = f"expected {listed.split(split).num_samples} and at least 1"
        raise DataError(f"{folder / manifest.FILE_NAME}: {split}: found {len(identifiers)} samples, {expected}")
    return sample_format, identifiers


def _found(folder: Path) -> tuple[SampleFormat, list[str]]:
    """Form and samples of a split without a manifest: the one form whose files lie in its folder."""
    names = {entry.name for entry in os.scandir(folder)}
    found = {name: _identifiers(sample_format, names) for name, sample_format in FORMATS.items()}
    forms = [name for name, identifiers in found.items() if identifiers]
    if len(forms) != 1:
        raise DataError(f"{folder}: found files of the forms {forms}, expected exactly one of {list(FORMATS)}")
    sample_format, identifiers = FORMATS[forms[0]], found[forms[0]]
    for path in (path for identifier in identifiers for path in sample_format.paths(folder, identifier)):
        if path.name not in names:
            raise DataError(f"{path}: found no such file, expected it beside the sample's other file")
    return sample_format, identifiers


def _identifiers(sample_format: SampleFormat, names: Iterable[str]) -> list[str]:
    return sorted(identifier for name in names if (identifier := sample_format.identifier(name)) is not None)
