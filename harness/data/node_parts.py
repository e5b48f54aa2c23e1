# SPDX-License-Identifier: Apache-2.0
"""A node part: the part of a data set that one node holds. It is a data set itself, with a manifest of its own.

    node_part = NodePart(index=2, count=8)
    listed = node_part.cut(manifest)                # a part of the training and of the validation samples
    node_part = NodePart.of(Manifest.load(folder))  # None if the folder holds the whole data set

Samples are dealt out to the nodes in turn: sample i of the manifest's order, or shard i of a data set of shards, is on
node i mod `count`. Neighbors in that order, such as pictures of one class or climates of one week, are thus on
different nodes. Samples stay on their node, and only their order within the node changes from epoch to epoch. No sample
is used twice in an epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, Protocol

import torch
from msgspec import UNSET

from compliance.files.errors import UserError
from harness.data.manifest import Manifest, Split
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
        """The manifest of this part. NodePartError if the data set is a part itself, or cannot be dealt out."""
        if NodePart.of(whole):
            raise NodePartError("source: is a node part itself; stage from the whole data set")
        splits, counts = dict(whole.splits), {}
        for name in SPLITS:
            if name in whole.splits:
                parts = parts_of(name, whole.splits[name], self.count)
                splits[name] = parts[self.index]
                counts[_whole_key(name)] = whole.splits[name].num_samples
                counts[_smallest_key(name)] = min(part.num_samples for part in parts)
        provenance = whole.provenance | {"node_part": self.index, "num_node_parts": self.count} | counts
        return replace(whole, splits=splits, provenance=provenance)


def parts_of(name: str, split: Split, count: int) -> list[Split]:
    """The node parts of a split; the split itself if it is not cut. NodePartError if it cannot be dealt out."""
    if count == 1 or name not in SPLITS:
        return [split]
    groups = _groups(name, split)
    if len(groups) < count:
        raise NodePartError(f"{name}: found {len(groups)} samples or shards, expected one for each of {count} nodes")
    return [_joined(groups[index::count]) for index in range(count)]


def _groups(name: str, split: Split) -> list[Split]:
    """The samples of a split, or its shards, which stay together."""
    if any(file.num_samples is not UNSET for file in split.files):
        by_stem = groupby(split.files, key=lambda file: PurePosixPath(file.path).with_suffix(""))
        shards = [tuple(files) for _, files in by_stem]
        return [Split(num_samples=sum(file.num_samples or 0 for file in files), files=files) for files in shards]
    if not split.num_samples or len(split.files) % split.num_samples:
        found = f"found {split.num_samples} samples in {len(split.files)} files"
        raise NodePartError(f"{name}: {found}, expected whole files per sample, or num_samples of each file")
    size = len(split.files) // split.num_samples
    starts = range(0, len(split.files), size)
    return [Split(num_samples=1, files=split.files[start : start + size]) for start in starts]


def _joined(splits: Sequence[Split]) -> Split:
    files = tuple(file for split in splits for file in split.files)
    return Split(num_samples=sum(split.num_samples for split in splits), files=files)


def num_whole(samples: Samples, split: str) -> int:
    """Number of samples of a split in the whole data set, of which `samples` may be a part."""
    provenance: dict[str, Any] = samples.manifest.provenance if samples.manifest else {}
    return provenance.get(_whole_key(split), len(samples))


def order(samples: Samples) -> dict[str, int]:
    """Arguments of EpochBatches for training on the samples of a node part; none for those of a whole data set."""
    node_part = NodePart.of(samples.manifest)
    if node_part is None:
        return {}
    assert samples.manifest
    smallest: Any = samples.manifest.provenance.get(_smallest_key("train"), len(samples))
    return {"node_part": node_part.index, "num_smallest": smallest}


def takers(world: World, manifest: Manifest | None) -> dict[str, int]:
    """Number of the ranks that share the samples, and this rank's number among them: those of the node or of all."""
    if NodePart.of(manifest):
        return {"num_ranks": world.ranks_per_node, "rank": world.local_rank}
    return {"num_ranks": world.num_ranks, "rank": world.rank}


def form(manifest: Manifest | None, staging_form: str) -> str:
    """Form of the data on the nodes, for the log; a part that was staged before the run is a "node_part" too."""
    return "node_part" if NodePart.of(manifest) else staging_form


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
    if node_part and not world.is_even:
        raise NodePartError(
            f"node parts: found nodes with {sorted({len(ranks) for ranks in world.ranks_by_node})} ranks, which would "
            "take different numbers of steps; start equally many ranks per node, or stage without --node-part"
        )


def _whole_key(split: str) -> str:
    return f"whole_{split}"


def _smallest_key(split: str) -> str:
    return f"smallest_{split}"
