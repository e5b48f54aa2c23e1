# SPDX-License-Identifier: Apache-2.0
"""algbw and busbw of collective operations, as nccl-tests defines them, and the bytes that an all-reduce moves.

    algbw = algorithm_bandwidth(num_bytes, seconds)
    busbw = algbw * bus_factor("all_reduce", num_ranks)

algbw is the message's size over the time. busbw is what a link carries at the optimum, so that it can be compared
with the hardware's speed whatever the number of ranks. Pure functions.

The size of a message follows nccl-tests too: all ranks' data together for all_gather, reduce_scatter and all_to_all.
"""

COLLECTIVES = ("all_reduce", "broadcast", "all_gather", "reduce_scatter", "all_to_all", "point_to_point")


def bus_factor(collective: str, num_ranks: int) -> float:
    """busbw / algbw; nothing moves with one rank."""
    if num_ranks < 2:
        return 0.0
    share_of_others = (num_ranks - 1) / num_ranks
    return {
        "all_reduce": 2 * share_of_others,
        "all_gather": share_of_others,
        "reduce_scatter": share_of_others,
        "all_to_all": share_of_others,
        "broadcast": 1.0,
        "point_to_point": 1.0,
    }[collective]


def algorithm_bandwidth(num_bytes: float, seconds: float) -> float:
    """Bytes per second."""
    return num_bytes / seconds


def all_reduce_bytes_per_rank(num_bytes: float, num_ranks: int) -> float:
    """Bytes that every rank sends in the ring that busbw assumes."""
    return num_bytes * bus_factor("all_reduce", num_ranks)


def all_reduce_bytes_between_nodes(num_bytes: float, num_nodes: int) -> float:
    """Bytes on the network of all nodes together, where the ranks of a node first reduce among themselves.

    A ring of num_nodes nodes, each sending 2 (m - 1) / m of the message.
    """
    return num_nodes * all_reduce_bytes_per_rank(num_bytes, num_nodes)


def all_reduce_seconds(num_bytes: float, *, num_ranks: int, bus_bandwidth: float, latency_s: float = 0.0) -> float:
    """Time of one all-reduce: latency and what the links need."""
    return latency_s + all_reduce_bytes_per_rank(num_bytes, num_ranks) / bus_bandwidth
