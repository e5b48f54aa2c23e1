# SPDX-License-Identifier: Apache-2.0
"""The accelerator and the cores of a rank.

    device = device_of(place)
    bind(place.local_rank, cores=[...], accelerators=[...])         # what each rank of the node says of itself

A rank gets cores of the NUMA node that its accelerator is attached to, as Linux reports it in sysfs; the number of a
local rank says nothing about that. NUMA nodes without accelerators add their cores to the nearest one with an
accelerator. Ranks on CPUs get equal shares of all cores, NUMA node after NUMA node, and begin at that of the network
card, since the first rank of a node exchanges data for it. Hardware threads of a core stay together.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from harness.distributed.launchers import LaunchError, Place

SYSFS = Path("/sys")
UNKNOWN = -1
"""The NUMA node of a device for which Linux knows none, as in virtual machines."""


def device_of(place: Place) -> torch.device:
    """The rank's own accelerator, or the CPU. LaunchError if the node has fewer accelerators than ranks.

    A launcher other than torchrun may show each rank a single accelerator (srun --gpus-per-task 1), which is its own.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    num_devices = torch.cuda.device_count()
    index = 0 if num_devices == 1 and place.launcher not in ("none", "torchrun") else place.local_rank
    if index >= num_devices:
        raise LaunchError(
            f"local rank {place.local_rank}: the node has {num_devices} accelerators; start one rank for each"
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def pci_address(device: torch.device) -> str | None:
    """The address of an accelerator, such as "0000:c1:00.0"; None on CPU, or if PyTorch does not say."""
    if device.type != "cuda":
        return None
    properties: Any = torch.cuda.get_device_properties(device)
    if not hasattr(properties, "pci_domain_id"):
        return None
    return f"{properties.pci_domain_id:04x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"


def allowed_cores() -> tuple[int, ...]:
    """Cores that this process may use; empty if the operating system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def bind(local_rank: int, *, cores: Sequence[Sequence[int]], accelerators: Sequence[str | None]) -> None:
    """Restrict this process to its share of its node's cores.

    `cores`: cores that each rank of the node may use; if they differ, the launcher has bound the ranks, and nothing
    changes.  `accelerators`: PCI address of each rank's accelerator.
    """
    if len(cores) == 1 or any(other != cores[0] for other in cores):
        return
    share = shares(cores[0], accelerators)[local_rank]
    if not share:  # more ranks than cores
        return
    os.sched_setaffinity(0, share)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len({_siblings(core, SYSFS) for core in share}))


def shares(cores: Sequence[int], accelerators: Sequence[str | None], *, sysfs: Path = SYSFS) -> list[list[int]]:
    """The cores of each local rank, given the node's cores and the PCI address of each rank's accelerator."""
    devices = sysfs / "bus/pci/devices"
    numa_of_rank = [_numa_node(devices / address) if address else UNKNOWN for address in accelerators]
    cores_of_numa = _cores_of_numa(cores, sysfs)
    if not cores_of_numa.keys() >= set(numa_of_rank):
        nearest_first = _by_distance(cores_of_numa, _network_numa_node(sysfs), sysfs)
        return _divided([core for numa in nearest_first for core in cores_of_numa[numa]], len(accelerators))
    pools: dict[int, list[int]] = defaultdict(list)
    for numa, its_cores in cores_of_numa.items():
        used = [other for other in _by_distance(cores_of_numa, numa, sysfs) if other in numa_of_rank]
        pools[used[0]] += its_cores
    divided = {numa: iter(_divided(pool, numa_of_rank.count(numa))) for numa, pool in pools.items()}
    return [next(divided[numa]) for numa in numa_of_rank]


def _divided(cores: Sequence[int], num_ranks: int) -> list[list[int]]:
    """Equal shares of consecutive cores."""
    bounds = [len(cores) * rank // num_ranks for rank in range(num_ranks + 1)]
    return [list(cores[bounds[rank] : bounds[rank + 1]]) for rank in range(num_ranks)]


def _cores_of_numa(cores: Sequence[int], sysfs: Path) -> dict[int, list[int]]:
    """The given cores by NUMA node, hardware threads of a core side by side; a single NUMA node if none is known."""
    ordered = sorted(cores, key=lambda core: (_siblings(core, sysfs), core))
    by_numa: dict[int, list[int]] = {}
    for folder in sorted((sysfs / "devices/system/node").glob("node[0-9]*")):
        listed = set(_core_list((folder / "cpulist").read_text()))
        if its_cores := [core for core in ordered if core in listed]:
            by_numa[int(folder.name.removeprefix("node"))] = its_cores
    return by_numa or {0: ordered}


def _siblings(core: int, sysfs: Path) -> int:
    """The first hardware thread of the core that this one belongs to."""
    path = sysfs / f"devices/system/cpu/cpu{core}/topology/thread_siblings_list"
    return min(_core_list(path.read_text()), default=core) if path.exists() else core


def _core_list(text: str) -> list[int]:
    """Linux's notation: "0-2,8" -> [0, 1, 2, 8]."""
    cores: list[int] = []
    for part in text.strip().split(",") if text.strip() else ():
        first, _, last = part.partition("-")
        cores += range(int(first), int(last or first) + 1)
    return cores


def _numa_node(device: Path) -> int:
    path = device / "numa_node"
    return int(path.read_text()) if path.exists() else UNKNOWN


def _network_numa_node(sysfs: Path) -> int:
    """The NUMA node of the first network card for which one is known; InfiniBand cards come first."""
    cards = [*sorted((sysfs / "class/infiniband").glob("*")), *sorted((sysfs / "class/net").glob("*"))]
    known = (numa for card in cards if (numa := _numa_node(card / "device")) != UNKNOWN)
    return next(known, UNKNOWN)


def _by_distance(nodes: Mapping[int, object], numa: int, sysfs: Path) -> list[int]:
    """NUMA nodes, the nearest to `numa` first; in the order of their numbers if distances are not known."""
    path = sysfs / f"devices/system/node/node{numa}/distance"
    distances = dict(enumerate(map(int, path.read_text().split()))) if path.exists() else {}
    return sorted(nodes, key=lambda node: (distances.get(node, 0), node))
