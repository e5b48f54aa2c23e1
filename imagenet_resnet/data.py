# SPDX-License-Identifier: Apache-2.0
"""The data set and its loaders: image folders or tar shards, delivered as uint8 and normalised on the device.

    dataset = open_split("data", "train", num_classes=1000)
    batches = loader(dataset, batch_size=256, side=224, num_ranks=8, rank=3, seed=1, shuffle=True, num_workers=8)
    for epoch in range(num_epochs):
        batches.set_epoch(epoch)
        for image_NHWC, label_N in batches:           # uint8 and int64
            ...

A data set is a folder with `train/` and `validation/`, each of classes or of shards, and the `manifest.json` that
prepare.py and synthesize.py write; without a manifest the files found are the data set. Which part of a picture is
shown follows from seed, epoch and sample alone, whoever reads it: loader "plain" or "dali", any number of threads.

Shape legend: N samples, H = W pixels, C = red, green and blue.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from harness.data import checks, manifest, readers
from harness.data.checks import DataError
from harness.data.loader import Loader
from harness.data.manifest import Manifest, ManifestError
from harness.data.sampler import EpochBatches, Order
from imagenet_resnet import jpeg
from imagenet_resnet.dataset import Dataset, Encoded
from imagenet_resnet.image_folder import PictureFolder
from imagenet_resnet.jpeg import PictureError, Size, View
from imagenet_resnet.webdataset import ShardSet

GREY = 128
FORMATS = {"jpeg": "image folders", "webdataset": "tar shards"}

Batch = tuple[torch.Tensor, torch.Tensor]


def open_split(folder: Path | str, split: str, *, num_classes: int, rank: int = 0, num_ranks: int = 1) -> Dataset:
    """One split ("train" or "validation"), checked as far as it is cheap; DataError.

    With a manifest every file is there with its size, each rank looking at its share.
    """
    folder = Path(folder)
    for needed in ("train", split):
        checks.check_split(folder, needed)
    try:
        listed = Manifest.load(folder) if (folder / manifest.FILE_NAME).exists() else None
        if listed:
            listed.verify(folder, split=split, part=slice(rank, None, num_ranks))
            checks.check_form(folder, listed, "imagenet_resnet", FORMATS)
            checks.check_whole(folder, listed)
            _check_classes(folder, listed.provenance.get("num_classes", num_classes), num_classes)
    except ManifestError as error:
        raise DataError(str(error)) from None
    shards = sorted((folder / split).glob("*.tar"))
    dataset = ShardSet(shards, num_classes, listed) if shards else PictureFolder(folder, split, listed)
    _check_classes(folder, dataset.num_classes, num_classes)
    if len(dataset) < num_ranks:
        raise DataError(f"{folder / split}: found {len(dataset)} samples for {num_ranks} ranks, expected one for each")
    return dataset


def loader(
    dataset: Dataset,
    *,
    side: int,
    num_workers: int = 0,
    kind: str = "plain",
    unreadable: str = "error",
    device: torch.device | None = None,
    **order: Unpack[Order],
) -> Loader:
    """Batches of a rank in the given order: `batch_size` pictures, `side` pixels each way; shuffled: cropped at random.

    kind "plain" decodes in `num_workers` threads (0: when asked for the next batch); "dali" in as many threads of
    NVIDIA DALI, or on `device` where that is a GPU. unreadable: "error", or "grey" for a grey picture in its place.
    """
    batches = dataset.batches(**order)
    if kind == "plain":
        return Loader(_Reader(dataset, batches, side=side, num_threads=num_workers, unreadable=unreadable), batches)
    if kind == "dali":
        from imagenet_resnet import dali  # only where asked for: the extra [dali] may be missing

        if unreadable != "error":
            raise DataError(f"unreadable: found {unreadable!r}, which loader kind 'dali' cannot do; use 'plain'")
        return Loader(dali.Reader(dataset, batches, side=side, num_threads=max(1, num_workers), device=device), batches)
    raise DataError(f"loader kind: found {kind!r}, expected 'plain' or 'dali'")


def view_of(batches: EpochBatches, index: int) -> Callable[[Size], View]:
    """What is shown of sample `index`, by its size: drawn in training, the centre in evaluation."""
    if not batches.shuffle:
        return jpeg.evaluation_view
    rng = np.random.default_rng([batches.seed, batches.epoch, index])
    return partial(jpeg.training_view, rng=rng)


class _Reader:
    """The plain reader: threads that fetch and decode whole batches, since decoding and resizing are done in C."""

    def __init__(self, dataset: Dataset, batches: EpochBatches, *, side: int, num_threads: int, unreadable: str):
        self.dataset, self.batches, self.side = dataset, batches, side
        self.num_threads, self.unreadable = num_threads, unreadable

    def __iter__(self) -> Iterator[Batch]:
        order = self.batches.indices()
        return readers.in_threads(self._render, order, self.dataset.fetch(order), num_threads=self.num_threads)

    def _render(self, indices: np.ndarray, encoded: Encoded) -> Batch:
        shape = (len(indices), self.side, self.side, 3)
        image_NHWC = torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
        pixels_NHWC = image_NHWC.numpy()
        for number, index in enumerate(indices.tolist()):
            try:
                pixels_NHWC[number] = jpeg.render(encoded.pictures[number], view_of(self.batches, index), self.side)
            except (PictureError, OSError) as error:
                self._replace(pixels_NHWC[number], f"{encoded.name(number)}: cannot be decoded: {error}")
        return image_NHWC, torch.from_numpy(encoded.labels)

    def _replace(self, pixels_HWC: np.ndarray, fault: str) -> None:
        if self.unreadable == "error":
            raise DataError(f"{fault}; fix it, or set unreadable = 'grey' in system.toml")
        print(f"warning: {fault}; a grey picture takes its place", file=sys.stderr)
        pixels_HWC[:] = GREY


def _check_classes(folder: Path, num_found: int, num_classes: int) -> None:
    if num_found != num_classes:
        found = f"found {num_found} classes, expected num_classes = {num_classes}"
        raise DataError(f"{folder}: {found}; train on other data, or say so in hyperparameters.toml")
