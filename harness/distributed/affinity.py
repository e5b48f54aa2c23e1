# SPDX-License-Identifier: Apache-2.0
"""The accelerator and the cores of a rank."""

import os

import torch

from harness.distributed.launchers import LaunchError, Place


def device_of(place: Place) -> torch.device:
    """The rank's own accelerator, or the CPU. LaunchError if the node has fewer accelerators than ranks.

    If srun or mpiexec shows each rank a single accelerator (srun --gpus-per-task 1), that one is the rank's own. If
    ranks in fact shared it, NCCL would refuse.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    num_devices = torch.cuda.device_count()
    index = 0 if num_devices == 1 and place.launcher in ("srun", "mpiexec") else place.local_rank
    if index >= num_devices:
        raise LaunchError(
            f"local rank {place.local_rank}: the node has {num_devices} accelerators; start one rank for each"
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def bind(place: Place) -> None:
    """Give each rank of a node an equal share of its cores, unless the launcher has already bound it to cores."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if place.ranks_per_node == 1 or len(cores) != os.cpu_count() or len(cores) < place.ranks_per_node:
        return
    share = own_share(cores, place)
    os.sched_setaffinity(0, share)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(share))


def own_share(cores: list[int], place: Place) -> list[int]:
    """The rank's share of the node's cores: consecutive ones, which share caches and memory."""
    start, stop = (len(cores) * index // place.ranks_per_node for index in (place.local_rank, place.local_rank + 1))
    return cores[start:stop]
