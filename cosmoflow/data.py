# SPDX-License-Identifier: Apache-2.0
"""The CosmoFlow data set: one interface over HDF5, numpy and TFRecord files.

    dataset = open_split("data", "train")

A data set is a folder with `train/` and `validation/`, and the `manifest.json` that prepare.py and synthesize.py write;
without a manifest the files found are the data set.

Volumes keep the order of their files in memory: a batch of files with the redshifts last is what PyTorch calls
channels_last_3d, and is transposed on the device if the model wants another order.

Shape legend: N samples, C = 4 redshifts, D = H = W voxels along each edge.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from cosmoflow import sample_files
from cosmoflow.sample_files import FORMATS, SampleError, SampleFormat
from harness.archive import archive
from harness.data import checks, listings, manifest, node_memory
from harness.data.checks import DataError
from harness.data.listings import Listings
from harness.data.manifest import Manifest, ManifestError
from harness.data.node_parts import NodePart
from harness.distributed.node_group import NodeGroup

Batch = tuple[torch.Tensor, torch.Tensor]


def open_split(
    folder: Path | str, split: str, *, listed_by: Listings | None = None, rank: int = 0, num_ranks: int = 1
) -> "Dataset":
    """The samples of one split ("train" or "validation"), checked as far as it is cheap.

    With a manifest: every file is there with its size, each rank looking at its share. Without: the files found have
    one form and are complete. Either way the first sample is read. Of a data set in archives nothing else can be read
    until it has been staged: see Dataset.move(). Raises DataError.
    """
    folder = Path(folder)
    try:
        listed_by = listed_by or listings.read(folder)
        with archive.opened(folder, split, listed_by) as here:
            listed = listed_by.parsed(folder)
            dataset = _open(here, split, listed, part=slice(rank, None, num_ranks) if here == folder else slice(1))
            if here != folder:
                dataset.move(folder, listed)
            return dataset
    except (ManifestError, SampleError) as error:
        raise DataError(str(error)) from None


def _open(folder: Path, split: str, listed: Manifest | None, *, part: slice) -> "Dataset":
    checks.check_split(folder, split)
    if listed:
        listed.verify(folder, split=split, part=slice(None) if NodePart.of(listed) else part)
        sample_format, stems = _listed_stems(folder, split, listed)
    else:
        sample_format, stems = _found_stems(folder / split)
    return Dataset(sample_format=sample_format, stems=stems, folder=folder, split=split, manifest=listed)


class Dataset:
    """Samples in a fixed order: sample i is (volume_CDHW int16, target float32 (4,))."""

    def __init__(
        self,
        *,
        sample_format: SampleFormat,
        stems: list[str],
        folder: Path,
        split: str,
        manifest: Manifest | None = None,
    ):
        self.sample_format = sample_format
        self.stems = stems
        """Paths of the samples without their suffixes."""
        self.manifest = manifest
        self.folder, self.split = folder, split
        """The data set, and which of its splits this is."""
        first_CDHW = sample_files.read(sample_format, Path(stems[0]))[0]
        self.sample_shape: tuple[int, ...] = first_CDHW.shape
        """(4, D, D, D)."""
        self.channels_last = not first_CDHW.flags.c_contiguous
        """True if the files hold the redshifts last."""
        self._cache: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def cached(self) -> bool:
        """True if every sample is in memory."""
        return self._cache is not None

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        volume_NCDHW, target_N4 = self.batch(np.array([index]))
        return volume_NCDHW[0], target_N4[0]

    def batch(self, indices: np.ndarray) -> Batch:
        """(volume_NCDHW int16, target_N4 float32) of the given samples; in pinned memory where there is a GPU."""
        volume_NCDHW, target_N4 = self.empty_batch(len(indices), pin_memory=torch.cuda.is_available())
        self._read(indices, volume_NCDHW.numpy(), target_N4.numpy())
        return volume_NCDHW, target_N4

    def empty_batch(self, num_samples: int, *, pin_memory: bool = False) -> Batch:
        """Memory for a batch, with the volumes in the order of their files."""
        volume_NCDHW = torch.empty(
            (num_samples, *self.sample_shape),
            dtype=torch.int16,
            pin_memory=pin_memory,
            memory_format=torch.channels_last_3d if self.channels_last else torch.contiguous_format,
        )
        return volume_NCDHW, torch.empty((num_samples, sample_files.NUM_TARGETS), pin_memory=pin_memory)

    def _read(self, indices: Iterable[int], volume_NCDHW: np.ndarray, target_N4: np.ndarray) -> None:
        """Fill the arrays with the given samples."""
        if self.cached:
            volumes_NCDHW, targets_N4 = self._cache
            for row, index in enumerate(indices):
                volume_NCDHW[row], target_N4[row] = volumes_NCDHW[index], targets_N4[index]
            return
        for row, index in enumerate(indices):
            volume_CDHW, target_N4[row] = sample_files.read(self.sample_format, Path(self.stems[index]))
            if volume_CDHW.shape != self.sample_shape:
                path = self.sample_format.paths(Path(self.stems[index]))[0]
                raise SampleError(f"{path}: shape: found {volume_CDHW.shape}, expected {self.sample_shape}")
            volume_NCDHW[row] = volume_CDHW

    def move(self, folder: Path, listed: Manifest | None = None) -> None:
        """Read from a copy of the data set, or from a node part of it, from now on. `listed`: its manifest, if read."""
        self.folder, self.manifest = folder, listed or Manifest.load(folder)
        _, self.stems = _listed_stems(folder, self.split, self.manifest)

    def fill_cache(self, node: NodeGroup) -> None:
        """Read every sample into memory of the node, as int16; each rank reads a part. Raises DataError on all ranks.

        A collective call of the ranks of a node, which then hold one copy together.
        """
        with node.agreed():
            checks.check_memory(Path(self.stems[0]).parent, len(self) * int(np.prod(self.sample_shape)) * 2)
        num_channels, *edges = self.sample_shape
        shape = (len(self), *edges, num_channels) if self.channels_last else (len(self), *self.sample_shape)
        volume_NCDHW = node_memory.array(node, shape, np.int16)
        if self.channels_last:
            volume_NCDHW = np.moveaxis(volume_NCDHW, -1, 1)
        target_N4 = node_memory.array(node, (len(self), sample_files.NUM_TARGETS), np.float32)
        own = slice(node.index, len(self), node.count)
        with node.agreed():
            self._read(range(len(self))[own], volume_NCDHW[own], target_N4[own])
        self._cache = volume_NCDHW, target_N4


def _listed_stems(folder: Path, split: str, listed: Manifest) -> tuple[SampleFormat, list[str]]:
    """Form and samples of a split as its manifest lists them."""
    checks.check_form(folder, listed, "cosmoflow", FORMATS)
    sample_format = FORMATS[listed.format]
    suffix = sample_format.suffixes[0]
    paths = (file.path for file in listed.split(split).files)
    stems = [str(folder / path.removesuffix(suffix)) for path in paths if path.endswith(suffix)]
    if not stems or len(stems) != listed.split(split).num_samples:
        expected = f"expected {listed.split(split).num_samples} and at least 1"
        raise DataError(f"{folder / manifest.FILE_NAME}: {split}: found {len(stems)} files *{suffix}, {expected}")
    return sample_format, stems


def _found_stems(folder: Path) -> tuple[SampleFormat, list[str]]:
    """Form and samples of a split without a manifest: the one form whose files lie in its folder."""
    names = {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}
    found = {
        name: sorted(stem for stem in names if stem.endswith(sample_format.suffixes[0]))
        for name, sample_format in FORMATS.items()
    }
    forms = [name for name, paths in found.items() if paths]
    if len(forms) != 1:
        raise DataError(f"{folder}: found files of the forms {forms}, expected exactly one of {list(FORMATS)}")
    sample_format = FORMATS[forms[0]]
    stems = [str(folder / name.removesuffix(sample_format.suffixes[0])) for name in found[forms[0]]]
    for path in (path for stem in stems for path in sample_format.paths(Path(stem))):
        if path.name not in names:
            raise DataError(f"{path}: found no such file, expected it beside the sample's other file")
    return sample_format, stems
