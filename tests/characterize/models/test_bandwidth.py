# SPDX-License-Identifier: Apache-2.0
"""algbw and busbw compared with the bytes that a ring sends."""

import pytest

from characterize.models.bandwidth import (
    COLLECTIVES,
    algorithm_bandwidth,
    all_reduce_bytes_between_nodes,
    all_reduce_bytes_per_rank,
    all_reduce_seconds,
    bus_factor,
)


def ring_all_reduce_bytes(num_bytes, num_ranks):
    """Count the bytes that one rank of a ring sends: reduce-scatter, then all-gather, one chunk per step."""
    chunk = num_bytes / num_ranks
    return sum(chunk for _ in range(num_ranks - 1)) + sum(chunk for _ in range(num_ranks - 1))


@pytest.mark.parametrize("num_ranks", [2, 3, 4, 6, 8, 512])
def test_all_reduce_is_what_a_ring_sends(num_ranks):
    assert all_reduce_bytes_per_rank(1e6, num_ranks) == pytest.approx(ring_all_reduce_bytes(1e6, num_ranks))


def test_factors_of_nccl_tests():
    assert bus_factor("all_reduce", 4) == 1.5
    assert bus_factor("all_gather", 4) == bus_factor("reduce_scatter", 4) == bus_factor("all_to_all", 4) == 0.75
    assert bus_factor("broadcast", 4) == bus_factor("point_to_point", 4) == 1


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_one_rank_moves_nothing(collective):
    assert bus_factor(collective, 1) == 0


def test_algbw_is_size_over_time():
    assert algorithm_bandwidth(64e6, 0.5) == 128e6


def test_time_and_bus_bandwidth_are_inverse():
    seconds = all_reduce_seconds(1e8, num_ranks=8, bus_bandwidth=5e9)
    assert algorithm_bandwidth(1e8, seconds) * bus_factor("all_reduce", 8) == pytest.approx(5e9)
    assert all_reduce_seconds(1e8, num_ranks=8, bus_bandwidth=5e9, latency_s=1.0) == pytest.approx(seconds + 1)


def test_nodes_together_send_the_message_twice_for_each_further_node():
    assert [all_reduce_bytes_between_nodes(10, nodes) for nodes in (1, 2, 3)] == pytest.approx([0, 20, 40])
