# SPDX-License-Identifier: Apache-2.0
"""What the data sets of all benchmarks are checked for before they are read.

data_set.check_split(folder, "train")
data_set.check_form(folder, listed, "deepcam", FORMATS)
batches = data_set.batches(folder / "train", samples, batch_size=4, num_ranks=8, rank=3, seed=1, shuffle=True)
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Unpack

import psutil

from harness.data import manifest, node_parts
from harness.data.manifest import Manifest
from harness.data.node_parts import NodePart, NodePartBatches, Samples
from harness.data.sampler import EpochBatches, Order, SamplerError


class DataError(ValueError):
    """A data set that cannot be used; the text names the folder or file, what was found and what was expected."""


def check_split(folder: Path, split: str) -> None:
    """DataError where the data set has no such split."""
    if not (folder / split).is_dir():
        raise DataError(f"{folder / split}: no such folder; expected the {split} split of a prepared data set there")


def check_form(folder: Path, listed: Manifest, benchmark: str, forms: Iterable[str]) -> None:
    """DataError where the manifest is another benchmark's, or of a form that this one cannot read."""
    if listed.benchmark != benchmark or listed.format not in forms:
        found = f"found {listed.benchmark} data in form {listed.format!r}"
        raise DataError(f"{folder / manifest.FILE_NAME}: {found}, expected {benchmark} data in one of {list(forms)}")


def check_memory(folder: Path, num_bytes: int) -> None:
    """DataError where the samples in `folder` cannot be held in memory."""
    available_bytes = psutil.virtual_memory().available
    if num_bytes > available_bytes:
        wanted, free = (f"{number / 2**30:.1f} GiB" for number in (num_bytes, available_bytes))
        raise DataError(
            f"{folder}: caching takes {wanted}, found {free} of free memory; set cache = false or use more ranks"
        )


def check_whole(folder: Path, listed: Manifest) -> None:
    """DataError where the manifest is that of one node's part, which not every benchmark can train from."""
    if node_part := NodePart.of(listed):
        found = f"found node part {node_part.index} of {node_part.count}, expected the whole data set"
        raise DataError(f"{folder / manifest.FILE_NAME}: {found}; stage it without --node-part")


def batches(folder: Path, samples: Samples, *, shuffle: bool = False, **order: Unpack[Order]) -> EpochBatches:
    """The order of the samples in `folder`; DataError where the ranks cannot share them.

    Where they are a node's part, `num_ranks` and `rank` are counted on that node.
    """
    try:
        if shuffle and (node_part := NodePart.of(samples.manifest)):
            return NodePartBatches(node_parts.num_whole(samples, "train"), node_part=node_part, **order)
        return EpochBatches(len(samples), **order, shuffle=shuffle)
    except SamplerError as error:
        raise DataError(f"{folder}: {error}") from None
