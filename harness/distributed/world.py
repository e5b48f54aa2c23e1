# SPDX-License-Identifier: Apache-2.0
"""Process group and device: gloo on CPU, NCCL on CUDA, no process group for a single process.

with launch() as world:                       # python -m cosmoflow.train ..., or
    model.to(world.device)                    # torchrun --nproc-per-node 8 -m cosmoflow.train ..., or
    error = world.mean(absolute_error_sum, num_values)      # srun, mpiexec -n 8 python -m cosmoflow.train ...
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed

# Import it before there is a process group. Default arguments in this module would otherwise hold the group, and gloo's
# threads with it, until the interpreter ends; a thread that then frees its last tensor aborts the rank.
# DistributedDataParallel would import it late.
import torch.distributed.nn

from harness.distributed import affinity, launchers, rendezvous
from harness.distributed.launchers import LaunchError, Place


@dataclass(frozen=True, kw_only=True)
class World(Place):
    """This process among all that train together. Every method is a collective call of all ranks."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device that this rank trains on."""

    @property
    def accelerators_per_node(self) -> int:
        """Accelerators that train on a node: one per rank, none on CPU."""
        return self.ranks_per_node if self.device.type == "cuda" else 0

    def all_reduce_sum(self, value: torch.Tensor | float) -> torch.Tensor:
        """Sum over ranks, in float64 or int64, so that neither small addends nor large counts are lost."""
        tensor = torch.as_tensor(value, device=self.device)
        exact = tensor.detach().to(torch.float64 if tensor.is_floating_point() else torch.int64, copy=True)
        if self.num_ranks > 1:
            torch.distributed.all_reduce(exact)
        return exact

    def mean(self, total: torch.Tensor | float, count: torch.Tensor | float) -> float:
        """Sum of `total` over ranks divided by the sum of `count`; ranks may hold different numbers of samples."""
        parts = [torch.as_tensor(part, dtype=torch.float64, device=self.device) for part in (total, count)]
        total_and_count = self.all_reduce_sum(torch.stack(parts))
        return float(total_and_count[0] / total_and_count[1])

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """The value of rank `source`: any small Python object."""
        if self.num_ranks == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=source, device=self.device)
        return box[0]

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        if self.num_ranks > 1:
            torch.distributed.barrier()


@contextmanager
def launch(*, num_ranks: int | None = None, timeout_minutes: float = 30) -> Iterator[World]:
    """Join the other ranks, and leave them at the end. LaunchError if `num_ranks` is given and differs."""
    place = launchers.find(os.environ)
    if num_ranks is not None and num_ranks != place.num_ranks:
        raise LaunchError(f"number of ranks: found {place.num_ranks}, expected {num_ranks}; launch {num_ranks} ranks")
    affinity.bind(place)
    world = World(**asdict(place), device=affinity.device_of(place))
    if world.num_ranks == 1:
        yield world
        return
    cuda = world.device.type == "cuda"
    torch.distributed.init_process_group(
        "nccl" if cuda else "gloo",
        rank=world.rank,
        world_size=world.num_ranks,
        timeout=timedelta(minutes=timeout_minutes),
        device_id=world.device if cuda else None,
        **rendezvous.meeting(place, os.environ),
    )
    try:
        yield world
    finally:
        torch.distributed.destroy_process_group()
