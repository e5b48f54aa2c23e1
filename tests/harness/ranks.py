# SPDX-License-Identifier: Apache-2.0
"""Several ranks for a test: spawned processes in a gloo process group.

spawn(work, 2, tmp_path, *arguments)           # runs work(world, *arguments) in each; a failure in one fails the test
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing

from harness.distributed.world import World


def spawn(work: Callable[..., None], num_ranks: int, folder: Path, *arguments: object) -> None:
    """`folder`: an empty folder for the rendezvous of the ranks, used only once."""
    torch.multiprocessing.spawn(_on_rank, (work, num_ranks, folder, arguments), nprocs=num_ranks)


def _on_rank(rank: int, work: Callable[..., None], num_ranks: int, folder: Path, arguments: tuple) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), num_ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=num_ranks, timeout=timedelta(seconds=100))
    try:
        work(World(rank=rank, num_ranks=num_ranks, local_rank=rank, ranks_per_node=num_ranks), *arguments)
    finally:
        dist.destroy_process_group()
