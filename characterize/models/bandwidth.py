# SPDX-License-Identifier: Apache-2.0
"""algbw and busbw of collective operations, as nccl-tests defines them, and the bytes that an all-reduce moves.

    algbw = algorithm_bandwidth(num_bytes, seconds)
    busbw = algbw * bus_factor("all_reduce", num_ranks)

algbw is the message size divided by the time. busbw is the rate that each link carries in an optimal algorithm, so it
can be compared with the hardware's speed for any number of ranks. Pure functions.

Message sizes follow nccl-tests: for all_gather, reduce_scatter and all_to_all the size counts the data of all ranks.
"""

COLLECTIVES = ("all_reduce", "broadcast", "all_gather", "reduce_scatter", "all_to_all", "point_to_point")


def bus_factor(collective: str, num_ranks: int) -> float:
    """Return busbw / algbw; 0 for one rank, which communicates nothing."""
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
    """algbw in bytes per second."""
    return num_bytes / seconds


def all_reduce_bytes_per_rank(num_bytes: float, num_ranks: int) -> float:
    """Bytes that each rank sends in a ring all-reduce of num_bytes."""
    return num_bytes * bus_factor("all_reduce", num_ranks)


def all_reduce_bytes_between_nodes(num_bytes: float, num_nodes: int) -> float:
    """Bytes that all nodes together send over the network, if the ranks of each node first reduce locally.

    The nodes form a ring of m = num_nodes; each sends 2 (m - 1) / m of the message.
    """
    return num_nodes * all_reduce_bytes_per_rank(num_bytes, num_nodes)


def all_reduce_seconds(num_bytes: float, *, num_ranks: int, bus_bandwidth: float, latency_s: float = 0.0) -> float:
    """Seconds of one all-reduce: latency plus transfer time at bus_bandwidth (bytes per second)."""
    return latency_s + all_reduce_bytes_per_rank(num_bytes, num_ranks) / bus_bandwidth
