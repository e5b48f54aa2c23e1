# SPDX-License-Identifier: Apache-2.0
"""The cores of each rank, from a tree like that of Linux' sysfs."""

from pathlib import Path

import pytest

from harness.distributed import affinity


@pytest.fixture
def sysfs(tmp_path):
    """Two NUMA nodes of four cores of two hardware threads, numbered as Linux does: 0-3 and 8-11, 4-7 and 12-15."""
    for node, cores, distances in ((0, "0-3,8-11", "10 32"), (1, "4-7,12-15", "32 10")):
        write(tmp_path / f"devices/system/node/node{node}/cpulist", cores)
        write(tmp_path / f"devices/system/node/node{node}/distance", distances)
    for core in range(16):
        write(tmp_path / f"devices/system/cpu/cpu{core}/topology/thread_siblings_list", f"{core % 8},{core % 8 + 8}")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def attach(sysfs: Path, address: str, numa_node: int) -> str:
    write(sysfs / f"bus/pci/devices/{address}/numa_node", str(numa_node))
    return address


def test_a_rank_gets_the_cores_next_to_its_accelerator(sysfs):
    accelerators = [attach(sysfs, "0000:c1:00.0", 1), attach(sysfs, "0000:01:00.0", 0)]  # not in the order of ranks
    first, second = affinity.shares(range(16), accelerators, sysfs=sysfs)
    assert (sorted(first), sorted(second)) == ([4, 5, 6, 7, 12, 13, 14, 15], [0, 1, 2, 3, 8, 9, 10, 11])


def test_ranks_at_one_numa_node_share_its_cores_and_keep_hardware_threads_together(sysfs):
    accelerators = [attach(sysfs, f"0000:0{number}:00.0", number // 2) for number in range(4)]
    assert affinity.shares(range(16), accelerators, sysfs=sysfs) == [
        [0, 8, 1, 9],
        [2, 10, 3, 11],
        [4, 12, 5, 13],
        [6, 14, 7, 15],
    ]


def test_cores_without_an_accelerator_go_to_the_nearest_one(sysfs):
    accelerators = [attach(sysfs, f"0000:0{number}:00.0", 1) for number in range(2)]
    shares = affinity.shares(range(16), accelerators, sysfs=sysfs)
    assert sorted(core for share in shares for core in share) == list(range(16))


def test_only_allowed_cores_are_used(sysfs):
    allowed = [1, 2, 3, 9, 10, 11, 5, 6, 7, 13, 14, 15]  # a site keeps the first core of each NUMA node
    accelerators = [attach(sysfs, f"0000:0{number}:00.0", number) for number in range(2)]
    shares = affinity.shares(allowed, accelerators, sysfs=sysfs)
    assert [sorted(share) for share in shares] == [[1, 2, 3, 9, 10, 11], [5, 6, 7, 13, 14, 15]]


@pytest.mark.parametrize("numa_node", [-1, 7])
def test_an_accelerator_of_an_unknown_place_leaves_equal_shares(sysfs, numa_node):
    accelerators = [attach(sysfs, f"0000:0{number}:00.0", numa_node) for number in range(2)]
    shares = affinity.shares(range(16), accelerators, sysfs=sysfs)
    assert [len(share) for share in shares] == [8, 8]
    assert sorted(shares[0]) == [0, 1, 2, 3, 8, 9, 10, 11]


def test_the_first_rank_on_cpus_is_next_to_the_network_card(sysfs):
    write(sysfs / "class/net/lo/mtu", "65536")
    write(sysfs / "class/infiniband/mlx5_0/device/numa_node", "1")
    first, second = affinity.shares(range(16), [None, None], sysfs=sysfs)
    assert sorted(first) == [4, 5, 6, 7, 12, 13, 14, 15]
    assert sorted(second) == [0, 1, 2, 3, 8, 9, 10, 11]


def test_without_a_topology_ranks_get_equal_shares(tmp_path):
    shares = affinity.shares(range(8), [None] * 3, sysfs=tmp_path)
    assert [core for share in shares for core in share] == list(range(8))
    assert {len(share) for share in shares} == {2, 3}


@pytest.fixture
def bound(monkeypatch):
    """Cores that were asked for."""
    calls = []
    monkeypatch.setattr(affinity.os, "sched_setaffinity", lambda process, cores: calls.append(sorted(cores)))
    monkeypatch.setattr(affinity.torch, "set_num_threads", lambda number: None)
    return calls


def test_ranks_that_the_launcher_has_bound_are_left_alone(bound):
    affinity.bind(0, cores=[(0, 1), (2, 3)], accelerators=[None, None])
    affinity.bind(0, cores=[(0, 1)], accelerators=[None])
    affinity.bind(2, cores=[(0, 1)] * 4, accelerators=[None] * 4)  # more ranks than cores
    assert len(bound) <= 1


def test_ranks_with_the_same_cores_are_bound_to_different_ones(bound):
    for local_rank in range(2):
        affinity.bind(local_rank, cores=[(0, 1)] * 2, accelerators=[None] * 2)
    assert sorted(bound) == [[0], [1]]
