# SPDX-License-Identifier: Apache-2.0
"""A node part: the part of a data set that one node holds. It is a data set itself, with a manifest of its own.

    node_part = NodePart(index=2, count=8)
    listed = node_part.cut(manifest)                # a part of the training and of the validation samples
    node_part = NodePart.of(Manifest.load(folder))  # None if the folder holds the whole data set

The ranks of a node draw from its node part (NodePartBatches). Samples stay on their node, and only their order within
the node changes from epoch to epoch. No sample is used twice in an epoch. The manifest's order decides which samples
share a node; CosmoFlow's order is random, since its universes are drawn or hashed at random.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from compliance.files.errors import UserError
from harness.data.manifest import DataFile, Manifest, Split
from harness.data.sampler import EpochBatches
from harness.distributed.world import World

SPLITS = ("train", "validation")
"""Splits that are cut. Other splits, such as DeepCAM's statistics, are on every node."""


class Samples(Protocol):
    """The samples of a split, as returned by a benchmark's open_split."""

    manifest: Manifest | None

    def __len__(self) -> int: ...


class NodePartError(UserError):
    """A data set that cannot be cut, or nodes whose node parts together are not a whole data set."""


@dataclass(frozen=True, kw_only=True)
class NodePart:
    """One of `count` parts."""

    index: int
    count: int

    @classmethod
    def of(cls, manifest: Manifest | None) -> "NodePart | None":
        """The part that this manifest lists; None if it lists a whole data set."""
        if manifest is None or "node_part" not in manifest.provenance:
            return None
        index, count = manifest.provenance["node_part"], manifest.provenance.get("num_node_parts")
        if type(index) is not int or type(count) is not int or not 0 <= index < count:
            raise NodePartError(f"provenance: found node_part {index!r} of {count!r}, expected a number below a count")
        return cls(index=index, count=count)

    def cut(self, whole: Manifest) -> Manifest:
        """The manifest of this part. NodePartError if a file holds several samples, or a node would get no sample."""
        if NodePart.of(whole):
            raise NodePartError("source: is a node part itself; stage from the whole data set")
        splits = {name: self._part(name, split) if name in SPLITS else split for name, split in whole.splits.items()}
        counts = {_whole_key(name): split.num_samples for name, split in whole.splits.items() if name in SPLITS}
        provenance = whole.provenance | {"node_part": self.index, "num_node_parts": self.count} | counts
        return replace(whole, splits=splits, provenance=provenance)

    def _part(self, name: str, split: Split) -> Split:
        num_samples = split.num_samples
        if num_samples < self.count or len(split.files) % num_samples:
            found = f"found {num_samples} samples in {len(split.files)} files"
            raise NodePartError(
                f"{name}: {found}, expected whole files a sample and a sample for each of {self.count} nodes"
            )
        start, stop = self.bounds(num_samples)
        files_per_sample = len(split.files) // num_samples
        return Split(num_samples=stop - start, files=split.files[start * files_per_sample : stop * files_per_sample])

    def bounds(self, num_samples: int) -> tuple[int, int]:
        """Index of this part's first sample, and of the sample after its last one."""
        return num_samples * self.index // self.count, num_samples * (self.index + 1) // self.count


def split_files(name: str, split: Split, count: int) -> list[tuple[DataFile, ...]]:
    """The files of each node part of a split; a single part with all files if the split is not cut."""
    if count == 1 or name not in SPLITS:
        return [split.files]
    return [NodePart(index=index, count=count)._part(name, split).files for index in range(count)]


def num_whole(samples: Samples, split: str) -> int:
    """Number of samples of a split in the whole data set, of which `samples` may be a part."""
    provenance: dict[str, Any] = samples.manifest.provenance if samples.manifest else {}
    return provenance.get(_whole_key(split), len(samples))


def check_complete(world: World, manifest: Manifest | None) -> None:
    """Raise NodePartError on all ranks unless every node holds the whole data set, or each node a different part."""
    node_part = NodePart.of(manifest)
    held = torch.zeros(world.num_nodes + 1, device=world.device)
    if world.local_rank == 0 and (node_part is None or node_part.count == world.num_nodes):
        held[world.num_nodes if node_part is None else node_part.index] = 1
    *num_holders, num_whole = world.all_reduce_sum(held).tolist()
    if num_whole != world.num_nodes and set(num_holders) != {1}:
        found = "the whole data set" if node_part is None else f"node part {node_part.index} of {node_part.count}"
        raise NodePartError(
            f"node parts: this node holds {found}, and the {world.num_nodes} nodes together not each part once; "
            "stage again, with --node-part and on these nodes"
        )


def _whole_key(split: str) -> str:
    return f"whole_{split}"


class NodePartBatches(EpochBatches):
    """The training batches of one rank, drawn from its node's part.

    Ranks of all nodes step together, as often as the smallest node part fills batches. That is as often as the whole
    data set fills global batches: floor(floor(samples / nodes) / b) = floor(samples / (nodes * b)). Each epoch leaves
    out other samples of a node.
    """

    def __init__(
        self,
        num_whole: int,
        *,
        node_part: NodePart,
        batch_size: int,
        num_ranks: int = 1,
        rank: int = 0,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        """`num_whole`: samples of the whole data set; `num_ranks` and `rank` are counted on this node."""
        assert shuffle, "evaluation takes the samples in their order: see EpochBatches"
        smallest = num_whole // node_part.count
        super().__init__(smallest, batch_size=batch_size, num_ranks=num_ranks, rank=rank, seed=seed, shuffle=True)
        self.num_whole, self.node_part = num_whole, node_part

    def indices(self) -> list[np.ndarray]:
        """One array of indices into the node part for each batch."""
        start, stop = self.node_part.bounds(self.num_whole)
        rng = np.random.default_rng([self.seed, self.epoch, self.node_part.index])
        return self._steps(rng.permutation(stop - start))
