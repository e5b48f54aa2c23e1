# SPDX-License-Identifier: Apache-2.0
"""The data set: image folders or tar shards.

    dataset = open_split("data", "train", num_classes=1000)

A data set is a folder with `train/` and `validation/`, each of classes or of shards, and the `manifest.json` that
prepare.py and synthesize.py write; without a manifest the files found are the data set.
"""

from pathlib import Path

import torch

from harness.data import checks, listings, node_parts
from harness.data.checks import DataError
from harness.data.listings import Listings
from harness.data.manifest import ManifestError
from harness.data.node_parts import NodePart
from imagenet_resnet.dataset import Dataset
from imagenet_resnet.image_folder import PictureFolder
from imagenet_resnet.webdataset import ShardSet

FORMATS = {"jpeg": "image folders", "webdataset": "tar shards"}

Batch = tuple[torch.Tensor, torch.Tensor]


def open_split(
    folder: Path | str,
    split: str,
    *,
    num_classes: int,
    listed_by: Listings | None = None,
    rank: int = 0,
    num_ranks: int = 1,
) -> Dataset:
    """One split ("train" or "validation"), checked as far as it is cheap; DataError.

    With a manifest every file is there with its size, each rank looking at its share.
    """
    folder = Path(folder)
    for needed in ("train", split):
        checks.check_split(folder, needed)
    try:
        listed = (listed_by or listings.read(folder)).parsed(folder)
        if listed:
            part = slice(None) if NodePart.of(listed) else slice(rank, None, num_ranks)
            listed.verify(folder, split=split, part=part)
            checks.check_form(folder, listed, "imagenet_resnet", FORMATS)
            _check_classes(folder, listed.provenance.get("num_classes", num_classes), num_classes)
    except ManifestError as error:
        raise DataError(str(error)) from None
    shards = sorted((folder / split).glob("*.tar"))
    dataset = ShardSet(folder / split, num_classes, listed) if shards else PictureFolder(folder, split, listed)
    _check_classes(folder, dataset.num_classes, num_classes)
    num_samples = node_parts.num_whole(dataset, split)
    if num_samples < num_ranks:
        raise DataError(f"{folder / split}: found {num_samples} samples for {num_ranks} ranks, expected one for each")
    return dataset


def _check_classes(folder: Path, num_found: int, num_classes: int) -> None:
    if num_found != num_classes:
        found = f"found {num_found} classes, expected num_classes = {num_classes}"
        raise DataError(f"{folder}: {found}; train on other data, or say so in hyperparameters.toml")
