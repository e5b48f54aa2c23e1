# SPDX-License-Identifier: Apache-2.0
"""A node part: the part of a data set that one node holds, itself a data set with a manifest of its own.

    node_part = NodePart(index=2, count=8)
    listed = node_part.cut(manifest)        # neighbouring samples of the training and of the validation split
    node_part = NodePart.of(Manifest.load(folder))  # None if the folder holds the whole data set

Each rank draws from its node's part (NodePartBatches): samples never move, and only their order within a node changes
from epoch to epoch. Over all ranks every sample is seen exactly once in an epoch. Which samples
share a node follows from the manifest's order; CosmoFlow's is that of universes drawn or hashed at random.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from compliance.files.errors import UserError
from harness.data.manifest import DataFile, Manifest, Split
from harness.data.sampler import EpochBatches
from harness.distributed.world import World

SPLITS = ("train", "validation")
"""What is cut; other splits, such as DeepCAM's statistics, are on every node."""


class Samples(Protocol):
    """Samples of a split, as a benchmark's open_split gives them."""

    manifest: Manifest | None

    def __len__(self) -> int: ...


class NodePartError(UserError):
    """A data set that cannot be cut, or nodes whose node parts are no whole data set."""


@dataclass(frozen=True, kw_only=True)
class NodePart:
    """One of `count` parts."""

    index: int
    count: int

    @classmethod
    def of(cls, manifest: Manifest | None) -> "NodePart | None":
        """Which part of a data set this manifest lists; None where it is the whole of it."""
        if manifest is None or "node_part" not in manifest.provenance:
            return None
        return cls(index=manifest.provenance["node_part"], count=manifest.provenance["num_node_parts"])

    def cut(self, whole: Manifest) -> Manifest:
        """The manifest of this part. NodePartError where files hold no whole samples, or a node would get none."""
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
        each = len(split.files) // num_samples
        return Split(num_samples=stop - start, files=split.files[start * each : stop * each])

    def bounds(self, num_samples: int) -> tuple[int, int]:
        """First sample of this part, and the one behind its last."""
        return num_samples * self.index // self.count, num_samples * (self.index + 1) // self.count


def split_files(name: str, split: Split, count: int) -> list[tuple[DataFile, ...]]:
    """The files of each node part of a split; all of them together where that split is not cut."""
    if count == 1 or name not in SPLITS:
        return [split.files]
    return [NodePart(index=index, count=count)._part(name, split).files for index in range(count)]


def num_whole(samples: Samples, split: str) -> int:
    """Samples of a split in the whole data set, of which `samples` may be a part."""
    provenance = samples.manifest.provenance if samples.manifest else {}
    return provenance.get(_whole_key(split), len(samples))


def check_complete(world: World, manifest: Manifest | None) -> None:
    """Raise NodePartError on all ranks unless every node holds the whole data set, or each a different part of it."""
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
    """The training batches of one rank, from its node's part: over all ranks of all nodes, every sample once an epoch.

    Ranks of all nodes step together. A node's samples are cut into steps like a whole data set of its own, by the
    number of samples that the smallest node part has; where a node has one more than that, its last step does.
    """

    def __init__(
        self, num_whole: int, *, node_part: NodePart, batch_size: int, num_ranks: int = 1, rank: int = 0, seed: int = 0
    ) -> None:
        """`num_whole`: samples of the whole data set; `num_ranks` and `rank`: of this node."""
        smallest = num_whole // node_part.count
        super().__init__(smallest, batch_size=batch_size, num_ranks=num_ranks, rank=rank, seed=seed, shuffle=True)
        self.num_whole, self.node_part = num_whole, node_part

    @property
    def global_sizes(self) -> list[int]:
        """Samples of each step over all ranks of all nodes."""
        sizes = [size * self.node_part.count for size in super().global_sizes]
        return [*sizes[:-1], sizes[-1] + self.num_whole % self.node_part.count]

    def indices(self) -> list[np.ndarray]:
        """One array of indices, into the node part, a batch."""
        start, stop = self.node_part.bounds(self.num_whole)
        order = np.random.default_rng([self.seed, self.epoch, self.node_part.index]).permutation(stop - start)
        steps = np.split(order, np.cumsum(super().global_sizes)[:-1])
        return [np.array_split(step, self.num_ranks)[self.rank] for step in steps]
