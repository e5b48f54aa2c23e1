# SPDX-License-Identifier: Apache-2.0
"""The ranks of each node, from what all ranks say of themselves."""

import pytest

from harness.distributed.launchers import LaunchError
from harness.distributed.node_layout import RankRecord, ranks_by_node


def record(host: str, local_rank: int, size: int, *, node: str = "", accelerator: str | None = None) -> RankRecord:
    return RankRecord(
        host=host,
        node=node,
        local_rank=local_rank,
        ranks_per_node=size,
        process=1,
        cores=(0, 1),
        accelerator=accelerator,
    )


def test_nodes_may_have_different_numbers_of_ranks():
    records = [record("a", 0, 2), record("a", 1, 2), record("b", 0, 1), record("c", 0, 1)]
    assert ranks_by_node(records) == ((0, 1), (2,), (3,))


def test_ranks_may_be_dealt_to_the_nodes_in_turn():
    assert ranks_by_node([record("b", 0, 2), record("a", 0, 2), record("b", 1, 2), record("a", 1, 2)]) == (
        (0, 2),
        (1, 3),
    )


def test_ranks_of_a_launcher_that_does_not_count_them_are_counted():
    assert ranks_by_node([record("a", 0, 0), record("b", 0, 0), record("a", 1, 0)]) == ((0, 2), (1,))


def test_several_nodes_of_a_launcher_may_be_on_one_host():
    assert ranks_by_node([record("host", 0, 1, node="n1"), record("host", 0, 1, node="n2")]) == ((0,), (1,))


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        (
            [record("a", 0, 1), record("a", 0, 1)],
            r"ranks \[0, 1\] have the local ranks \[0, 0\], expected 0 to 1",
        ),
        ([record("a", 0, 2), record("a", 2, 3)], r"have the local ranks \[0, 2\]"),
        ([record("a", 0, 2), record("b", 0, 2)], "node a: rank 0 expects 2 ranks on its node, found 1"),
        (
            [record("a", 0, 2, accelerator="0000:c1:00.0"), record("a", 1, 2, accelerator="0000:c1:00.0")],
            "have the same accelerator; start one rank per accelerator",
        ),
    ],
)
def test_contradictions_between_ranks_are_named(records, fault):
    with pytest.raises(LaunchError, match=fault):
        ranks_by_node(records)


def test_accelerators_of_different_nodes_may_have_one_address():
    address = "0000:c1:00.0"
    records = [record("a", 0, 1, accelerator=address), record("b", 0, 1, accelerator=address)]
    assert ranks_by_node(records) == ((0,), (1,))
