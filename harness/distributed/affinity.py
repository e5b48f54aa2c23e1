# SPDX-License-Identifier: Apache-2.0
"""Which accelerator and which cores are a rank's own."""

import os

import torch

from harness.distributed.launchers import LaunchError, Place


def device_of(place: Place) -> torch.device:
    """One accelerator a rank; CPU where there is none.

    A launcher that shows each rank its own (srun --gpus-per-task 1) shows one: it is the rank's. Were it in truth
    shared, NCCL would refuse.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    num_devices = torch.cuda.device_count()
    index = 0 if num_devices == 1 and place.launcher in ("srun", "mpiexec") else place.local_rank
    if index >= num_devices:
        raise LaunchError(
            f"local rank {place.local_rank}: the node has {num_devices} accelerators; start at most so many ranks on it"
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def bind(place: Place) -> None:
    """Give each rank of a node an equal stretch of its cores, unless the launcher has bound it to some already."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if place.ranks_per_node == 1 or len(cores) != os.cpu_count() or len(cores) < place.ranks_per_node:
        return
    share = own_share(cores, place)
    os.sched_setaffinity(0, share)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(share))


def own_share(cores: list[int], place: Place) -> list[int]:
    """The rank's stretch of the node's cores: neighbours, which share caches and memory."""
    start, stop = (len(cores) * index // place.ranks_per_node for index in (place.local_rank, place.local_rank + 1))
    return cores[start:stop]
