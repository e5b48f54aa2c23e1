# SPDX-License-Identifier: Apache-2.0
"""Checks of a data set before it is read, the same for all benchmarks.

checks.check_split(folder, "train")
checks.check_form(folder, listed, "deepcam", FORMATS)
batches = checks.batches(folder / "train", samples, batch_size=4, num_ranks=8, rank=3, seed=1, shuffle=True)
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Unpack

import psutil

from compliance.files.errors import UserError
from harness.data import manifest, node_parts
from harness.data.manifest import Manifest
from harness.data.node_parts import NodePart, Samples
from harness.data.sampler import EpochBatches, Order, SamplerError


class DataError(UserError):
    """A data set that cannot be used; the text names the folder or file, what was found and what was expected."""


def check_split(folder: Path, split: str) -> None:
    """Raise DataError if the data set has no such split."""
    if not (folder / split).is_dir():
        raise DataError(f"{folder / split}: no such folder; expected the {split} split of a prepared data set there")


def check_form(folder: Path, listed: Manifest, benchmark: str, forms: Iterable[str]) -> None:
    """Raise DataError if the manifest belongs to another benchmark, or has a form that this one cannot read."""
    if listed.benchmark != benchmark or listed.format not in forms:
        found = f"found {listed.benchmark} data in form {listed.format!r}"
        raise DataError(f"{folder / manifest.FILE_NAME}: {found}, expected {benchmark} data in one of {list(forms)}")


def check_memory(folder: Path, num_bytes: int) -> None:
    """Raise DataError if the samples in `folder`, of `num_bytes` in all, do not fit into this node's free memory."""
    available_bytes = psutil.virtual_memory().available
    if num_bytes > available_bytes:
        wanted, free = (f"{number / 2**30:.1f} GiB" for number in (num_bytes, available_bytes))
        raise DataError(
            f"{folder}: caching takes {wanted} per node, found {free} of free memory; set cache = false, or stage "
            "node parts on more nodes"
        )


def check_whole(folder: Path, listed: Manifest) -> None:
    """Raise DataError if the manifest lists a node part; not every benchmark can train from one."""
    if node_part := NodePart.of(listed):
        found = f"found node part {node_part.index} of {node_part.count}, expected the whole data set"
        raise DataError(f"{folder / manifest.FILE_NAME}: {found}; stage it without --node-part")


def batches(
    folder: Path, samples: Samples, *, kind: Callable[..., EpochBatches] = EpochBatches, **order: Unpack[Order]
) -> EpochBatches:
    """The batches of the samples in `folder`, which `kind` orders. DataError if the ranks cannot share them.

    If the samples are a node part, `num_ranks` and `rank` are counted on this node: see node_parts.takers().
    """
    try:
        return kind(len(samples), **(order | node_parts.order(samples) if order.get("shuffle") else order))
    except SamplerError as error:
        raise DataError(f"{folder}: {error}") from None
