# SPDX-License-Identifier: Apache-2.0
"""Process group and device: gloo on CPU, NCCL on CUDA, none at all for one process.

    with launch() as world:                       # python -m cosmoflow.train ..., or
        model.to(world.device)                    # torchrun --nproc-per-node 8 -m cosmoflow.train ...
        error = world.mean(absolute_error_sum, num_values)

A launcher is a function of the environment that says who this process is; `torchrun` is the one known so far. Whatever
other launcher started several processes is refused, since each of them would otherwise train alone without a word.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed

from compliance.errors import UserError

TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# Numbers of processes that other launchers started. Slurm: of the step, since a batch script itself is one process.
STARTED_VARIABLES = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpiexec", "PMI_SIZE": "mpiexec"}


class LaunchError(UserError):
    """Processes that cannot form the world they were started for."""


@dataclass(frozen=True, kw_only=True)
class World:
    """This process among all that train together. Every method is a collective: all ranks call it."""

    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0
    """Rank among the processes of this node."""
    ranks_per_node: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def num_nodes(self) -> int:
        return self.num_ranks // self.ranks_per_node

    @property
    def accelerators_per_node(self) -> int:
        """Accelerators that train: one a rank, none on CPU."""
        return self.ranks_per_node if self.device.type == "cuda" else 0

    def all_reduce_sum(self, value: torch.Tensor | float) -> torch.Tensor:
        """Sum over ranks, in float64 or int64 so that neither small addends nor large counts are lost."""
        tensor = torch.as_tensor(value, device=self.device)
        exact = tensor.detach().to(torch.float64 if tensor.is_floating_point() else torch.int64, copy=True)
        if self.num_ranks > 1:
            torch.distributed.all_reduce(exact)
        return exact

    def mean(self, total: torch.Tensor | float, count: torch.Tensor | float) -> float:
        """Sum over ranks of `total` divided by that of `count`: right where ranks hold different numbers of samples."""
        parts = [torch.as_tensor(part, dtype=torch.float64, device=self.device) for part in (total, count)]
        total_and_count = self.all_reduce_sum(torch.stack(parts))
        return float(total_and_count[0] / total_and_count[1])

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """The value that rank `source` has: any Python object, small; for tensors of a model use DDP's own."""
        if self.num_ranks == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=source, device=self.device)
        return box[0]

    def barrier(self) -> None:
        """Return when all ranks have come here."""
        if self.num_ranks > 1:
            torch.distributed.barrier()


@contextmanager
def launch(*, num_ranks: int | None = None, timeout_minutes: float = 30) -> Iterator[World]:
    """Join the other ranks, and part from them at the end. `num_ranks`: what the caller counts on, checked."""
    world = place(os.environ)
    if num_ranks is not None and num_ranks != world.num_ranks:
        raise LaunchError(f"number of ranks: found {world.num_ranks}, expected {num_ranks}; launch so many")
    world = replace(world, device=_device(world))
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
    )
    try:
        yield world
    finally:
        torch.distributed.destroy_process_group()


def place(environment: Mapping[str, str]) -> World:
    """Who this process is, by its launcher's variables; LaunchError where they contradict each other."""
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        _check_started(environment, num_joined=1)
        return World()
    rank, num_ranks, local_rank, ranks_per_node = (_count(environment, name) for name in TORCHRUN_VARIABLES[:4])
    for name in TORCHRUN_VARIABLES[4:]:
        _text(environment, name)
    _check_started(environment, num_joined=int(environment.get("GROUP_WORLD_SIZE", num_ranks // ranks_per_node)))
    if not (rank < num_ranks and local_rank < ranks_per_node and num_ranks % ranks_per_node == 0):
        raise LaunchError(
            f"RANK={rank} WORLD_SIZE={num_ranks} LOCAL_RANK={local_rank} LOCAL_WORLD_SIZE={ranks_per_node}: "
            "expected ranks below their sizes, and as many ranks on each node"
        )
    return World(rank=rank, num_ranks=num_ranks, local_rank=local_rank, ranks_per_node=ranks_per_node)


def _check_started(environment: Mapping[str, str], *, num_joined: int) -> None:
    """Refuse several processes that would each be a world of their own."""
    for name, launcher in STARTED_VARIABLES.items():
        num_started = int(environment.get(name, 1))
        if num_started not in (1, num_joined):
            raise LaunchError(
                f"{name}={num_started}: {launcher} started {num_started} processes, but torchrun joins {num_joined}; "
                "start one torchrun a node, with --nnodes the number of nodes"
            )


def _text(environment: Mapping[str, str], name: str) -> str:
    if name not in environment:
        raise LaunchError(
            f"{name}: not set, though others of torchrun's variables are; start with torchrun, or unset them"
        )
    return environment[name]


def _count(environment: Mapping[str, str], name: str) -> int:
    text = _text(environment, name)
    if not text.isdecimal():
        raise LaunchError(f"{name}: found {text!r}, expected a whole number")
    return int(text)


def _device(world: World) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    num_devices = torch.cuda.device_count()
    if world.local_rank >= num_devices:
        raise LaunchError(
            f"LOCAL_RANK={world.local_rank}: the node has {num_devices} accelerators; start at most so many ranks on it"
        )
    device = torch.device("cuda", world.local_rank)
    torch.cuda.set_device(device)
    return device
