# SPDX-License-Identifier: Apache-2.0
"""Node parts: together they are the data set, and the ranks of all nodes share its samples in every epoch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import node_parts
from harness.data.manifest import DataFile, Manifest, Split
from harness.data.node_parts import NodePart, NodePartError
from harness.data.sampler import EpochBatches, SamplerError
from harness.distributed.world import World
from tests.harness.ranks import spawn


def listed(num_train: int = 7, files_per_sample: int = 2) -> Manifest:
    def split(name: str, num_samples: int, num_files: int) -> Split:
        files = (DataFile(path=f"{name}/{number}", bytes=1, sha256="") for number in range(num_files))
        return Split(num_samples=num_samples, files=tuple(files))

    splits = {
        "train": split("train", num_train, num_train * files_per_sample),
        "validation": split("validation", 3, 3),
        "statistics": split("statistics", 0, 1),
    }
    description = {"format": "numpy", "arrays": {}, "provenance": {"seed": 1}, "tool": "test", "tool_version": "1"}
    return Manifest(benchmark="toy", synthetic=True, splits=splits, **description)


def test_the_node_parts_together_are_the_data_set():
    whole = listed()
    parts = [NodePart(index=index, count=3).cut(whole) for index in range(3)]
    for name in ("train", "validation"):
        assert sorted(file.path for part in parts for file in part.splits[name].files) == sorted(
            file.path for file in whole.splits[name].files
        )
        assert sum(part.splits[name].num_samples for part in parts) == whole.splits[name].num_samples
    assert [part.splits["train"].num_samples for part in parts] == [3, 2, 2]
    assert all(part.splits["statistics"] == whole.splits["statistics"] for part in parts)


def test_neighbors_are_on_different_nodes_and_the_files_of_a_sample_on_one():
    first, second = (NodePart(index=index, count=2).cut(listed()).splits["train"].files for index in range(2))
    assert [file.path for file in first] == [f"train/{number}" for number in (0, 1, 4, 5, 8, 9, 12, 13)]
    assert [file.path for file in second] == [f"train/{number}" for number in (2, 3, 6, 7, 10, 11)]


def test_shards_stay_whole():
    sizes = {"train/0": 5, "train/1": 4, "train/2": 3}
    files = tuple(
        DataFile(path=f"{stem}.{kind}", bytes=1, sha256="", **({"num_samples": size} if kind == "tar" else {}))
        for stem, size in sizes.items()
        for kind in ("idx", "tar")
    )
    split = Split(num_samples=12, files=files)
    whole = Manifest(**{**vars(listed()), "splits": {"train": split}})
    parts = [NodePart(index=index, count=2).cut(whole) for index in range(2)]
    assert [part.splits["train"].num_samples for part in parts] == [8, 4]
    assert [file.path for file in parts[1].splits["train"].files] == ["train/1.idx", "train/1.tar"]
    assert [node_parts.order(Samples(part)) for part in parts] == [
        {"node_part": 0, "num_smallest": 4},
        {"node_part": 1, "num_smallest": 4},
    ]


def test_a_node_part_says_which_it_is_and_how_large_the_whole_is():
    whole = listed()
    part = NodePart(index=1, count=3).cut(whole)
    assert NodePart.of(part) == NodePart(index=1, count=3)
    assert NodePart.of(whole) is None
    assert (node_parts.form(part, "replica"), node_parts.form(whole, "replica")) == ("node_part", "replica")
    assert len(Samples(part)) == 2
    assert node_parts.num_whole(Samples(part), "train") == node_parts.num_whole(Samples(whole), "train") == 7


class Samples:
    """The training samples that a manifest lists."""

    def __init__(self, manifest: Manifest):
        self.manifest = manifest

    def __len__(self) -> int:
        return self.manifest.split("train").num_samples


@pytest.mark.parametrize(
    ("whole", "fault"),
    [
        (listed(num_train=2), "train: found 2 samples or shards, expected one for each of 3 nodes"),
        (NodePart(index=0, count=3).cut(listed()), "is a node part itself"),
    ],
)
def test_what_cannot_be_cut_is_refused(whole, fault):
    with pytest.raises(NodePartError, match=fault):
        NodePart(index=0, count=3).cut(whole)


def test_files_that_hold_many_samples_are_not_cut():
    whole = listed()
    year = Split(num_samples=500, files=whole.splits["train"].files)
    with pytest.raises(NodePartError, match="found 500 samples in 14 files"):
        NodePart(index=0, count=2).cut(Manifest(**{**vars(whole), "splits": {"train": year}}))


def all_ranks(num_whole: int, *, num_nodes: int, ranks_per_node: int, batch_size: int, epoch: int = 1):
    ranks = []
    for node in range(num_nodes):
        for rank in range(ranks_per_node):
            batches = EpochBatches(
                len(range(node, num_whole, num_nodes)),
                node_part=node,
                num_smallest=num_whole // num_nodes,
                shuffle=True,
                batch_size=batch_size,
                num_ranks=ranks_per_node,
                rank=rank,
                seed=5,
            )
            batches.epoch = epoch
            ranks.append(batches)
    return ranks


@given(
    num_nodes=st.integers(1, 5),
    ranks_per_node=st.integers(1, 4),
    batch_size=st.integers(1, 5),
    more=st.integers(0, 60),
)
def test_no_sample_twice_an_epoch_and_as_many_steps_as_the_whole_data_set(num_nodes, ranks_per_node, batch_size, more):
    global_batch_size = num_nodes * ranks_per_node * batch_size
    num_whole = global_batch_size + more
    shape = {"num_nodes": num_nodes, "ranks_per_node": ranks_per_node, "batch_size": batch_size}
    ranks = all_ranks(num_whole, **shape)
    seen = [index * num_nodes + b.node_part for b in ranks for batch in b for index in batch]
    assert len(set(seen)) == len(seen) == num_whole // global_batch_size * global_batch_size
    assert set(seen) <= set(range(num_whole))
    assert {len(batch) for batches in ranks for batch in batches} == {batch_size}
    assert {len(batches) for batches in ranks} == {num_whole // global_batch_size}


def test_the_order_within_a_node_changes_from_epoch_to_epoch():
    shape = {"num_nodes": 2, "ranks_per_node": 1, "batch_size": 4}
    first, other_node = all_ranks(40, **shape, epoch=1)
    later, _ = all_ranks(40, **shape, epoch=2)
    again, _ = all_ranks(40, **shape, epoch=1)
    assert list(first) == list(again) != list(later)
    assert list(first) != list(other_node)


def test_a_node_part_that_fills_no_batch_is_refused():
    with pytest.raises(SamplerError, match=r"found 1 training samples, .* global batch of 2"):
        EpochBatches(2, node_part=0, num_smallest=1, batch_size=1, num_ranks=2, shuffle=True)


def _check_uneven(world: World) -> None:
    world = World(
        rank=world.rank,
        num_ranks=3,
        local_rank=(0, 1, 0)[world.rank],
        ranks_per_node=(2, 2, 1)[world.rank],
        ranks_by_node=((0, 1), (2,)),
    )
    with pytest.raises(NodePartError, match=r"found nodes with \[1, 2\] ranks"):
        node_parts.check_complete(world, NodePart(index=world.node_index, count=2).cut(listed()))
    node_parts.check_complete(world, listed())


def test_nodes_with_different_numbers_of_ranks_do_not_train_from_node_parts(tmp_path):
    spawn(_check_uneven, 3, tmp_path)


def _check(world: World, holdings: list[NodePart | None], complete: bool) -> None:
    world = World(rank=world.rank, num_ranks=world.num_ranks, local_rank=0, ranks_per_node=1)  # each a node of its own
    node_part = holdings[world.rank]
    manifest = node_part.cut(listed()) if node_part else listed()
    if complete:
        node_parts.check_complete(world, manifest)
        return
    with pytest.raises(NodePartError, match="stage again"):
        node_parts.check_complete(world, manifest)


@pytest.mark.parametrize(
    ("holdings", "complete"),
    [
        ([None, None], True),
        ([NodePart(index=1, count=2), NodePart(index=0, count=2)], True),
        ([NodePart(index=0, count=2), NodePart(index=0, count=2)], False),
        ([NodePart(index=0, count=2), None], False),
        ([NodePart(index=0, count=3), NodePart(index=1, count=3)], False),
    ],
)
def test_nodes_that_miss_a_part_are_refused_on_all_ranks(tmp_path, holdings, complete):
    spawn(_check, 2, tmp_path, holdings, complete)
