# SPDX-License-Identifier: Apache-2.0
"""All ranks that train together: launch() joins them, World is their process group and their nodes.

with launch() as world:                       # python -m cosmoflow.train ..., or
    model.to(world.device)                    # torchrun --nproc-per-node 8 -m cosmoflow.train ..., or
    error = world.mean(absolute_error_sum, num_values)      # srun, mpiexec -n 8 python -m cosmoflow.train ...

The process group is that of NCCL on CUDA devices. On CPUs it is that of gloo, or that of MPI for more than
MPI_FROM_NUM_RANKS ranks. A single process has none.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

import torch
import torch.distributed

# Import it before there is a process group. Default arguments in this module would otherwise hold the group, and gloo's
# threads with it, until the interpreter ends; a thread that then frees its last tensor aborts the rank.
# DistributedDataParallel would import it late.
import torch.distributed.nn

from compliance.files.errors import UserError
from harness.distributed import affinity, launchers, mpi_group, rendezvous
from harness.distributed.launchers import LaunchError, Place
from harness.distributed.node_layout import RankRecord, ranks_by_node
from harness.distributed.watchdog import Watchdog

Value = TypeVar("Value")

Backend = Literal["auto", "nccl", "gloo", "mpi"]
MPI_FROM_NUM_RANKS = 256
"""Number of ranks on CPUs above which "auto" prefers MPI to gloo, if the ranks are in an MPI world."""


@dataclass(frozen=True, kw_only=True)
class World(Place):
    """This process among all that train together. Every method is a collective call of all ranks."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device that this rank trains on."""
    ranks_by_node: tuple[tuple[int, ...], ...] = ()
    """Ranks of each node, ordered by local rank. By default, nodes of `ranks_per_node` consecutive ranks."""
    watchdog: Watchdog = field(default_factory=Watchdog.none, repr=False, compare=False)
    """The watch over the other ranks."""

    def __post_init__(self) -> None:
        if not self.ranks_by_node:
            size = self.ranks_per_node
            blocks = tuple(tuple(range(start, start + size)) for start in range(0, self.num_ranks, size))
            object.__setattr__(self, "ranks_by_node", blocks)

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.ranks_by_node)

    @property
    def node_index(self) -> int:
        """Number of this rank's node, from 0."""
        return next(index for index, ranks in enumerate(self.ranks_by_node) if self.rank in ranks)

    @property
    def is_even(self) -> bool:
        """True if all nodes have equally many ranks."""
        return len({len(ranks) for ranks in self.ranks_by_node}) == 1

    @property
    def accelerators_per_node(self) -> int:
        """Accelerators that train on this node: one per rank, none on CPU."""
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

    def all_gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order: any small Python objects."""
        if self.num_ranks == 1:
            return [value]
        values = [None] * self.num_ranks
        torch.distributed.all_gather_object(values, value)
        return values

    def on_first_rank(self, work: Callable[[], Value]) -> Value:
        """The value that rank 0 computes, on all ranks; a user's error there is raised on all, so that none waits."""
        value: Any = None
        fault: UserError | None = None
        if self.rank == 0:
            try:
                value = work()
            except UserError as error:
                fault = error
        value, fault = self.broadcast((value, fault))
        if fault is not None:
            fault.same_on_all_ranks = True
            raise fault
        return value

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        if self.num_ranks > 1:
            torch.distributed.barrier()


@contextmanager
def launch(
    *,
    backend: Backend = "auto",
    num_ranks: int | None = None,
    timeout_minutes: float = 30,
    watchdog_minutes: float = 5,
) -> Iterator[World]:
    """Join the other ranks, and leave them at the end. LaunchError if they cannot form one world.

    num_ranks: expected number of ranks, if the caller knows it.  timeout_minutes: longest time of a collective before
    the first steps are done.  watchdog_minutes: longest time without a sign of life of a rank; 0 for none.
    """
    place = launchers.find(os.environ)
    if num_ranks is not None and num_ranks != place.num_ranks:
        raise LaunchError(f"number of ranks: found {place.num_ranks}, expected {num_ranks}; launch {num_ranks} ranks")
    device = affinity.device_of(place)
    if place.num_ranks == 1:
        yield World(**vars(place), device=device)
        return
    chosen = choose_backend(backend, place, device)
    with _process_group(chosen, place, device, timedelta(minutes=timeout_minutes)) as store:
        world, records = _meet(place, device)
        names = [f"rank {rank} on node {record.name}, process {record.process}" for rank, record in enumerate(records)]
        with Watchdog(store, rank=place.rank, names=names, limit_s=60 * watchdog_minutes) as watchdog:
            with _told_to_others(watchdog, waits=chosen != "gloo" and place.rank != 0):
                yield replace(world, watchdog=watchdog)
            watchdog.closed()


def choose_backend(backend: Backend, place: Place, device: torch.device) -> str:
    """The library of the process group: "nccl", "gloo" or "mpi". LaunchError if the asked-for one cannot be used."""
    if backend == "nccl" and device.type != "cuda":
        raise LaunchError("backend: found 'nccl' without a CUDA device, expected 'gloo', 'mpi' or 'auto'")
    if backend == "mpi" and device.type == "cuda":
        raise LaunchError("backend: found 'mpi' with a CUDA device, expected 'nccl' or 'auto'")
    if backend != "auto":
        return backend
    if device.type == "cuda":
        return "nccl"
    in_mpi = place.in_mpi and find_spec("mpi4py") is not None
    return "mpi" if in_mpi and place.num_ranks > MPI_FROM_NUM_RANKS else "gloo"


@contextmanager
def _process_group(
    backend: str, place: Place, device: torch.device, timeout: timedelta
) -> Iterator[torch.distributed.Store]:
    """The world's process group for a block; yields a connection of its own to the store."""
    os.environ.setdefault("TORCH_GLOO_LAZY_INIT", "1")  # gloo then connects pairs of ranks when they first communicate
    store = rendezvous.meet(place, os.environ, timeout, keep_mpi=backend == "mpi")
    if backend == "mpi":
        mpi_group.register()
    torch.distributed.init_process_group(
        mpi_group.NAME if backend == "mpi" else backend,
        store=store,
        rank=place.rank,
        world_size=place.num_ranks,
        timeout=timeout,
        device_id=device if backend == "nccl" else None,
    )
    try:
        yield store.clone() if hasattr(store, "clone") else store
    except BaseException:
        if backend == "mpi":
            torch.distributed.distributed_c10d._get_default_group().abort()
        else:
            torch.distributed.destroy_process_group()
        raise
    torch.distributed.destroy_process_group()
    if backend == "mpi":
        rendezvous.finalize_mpi()


def _meet(place: Place, device: torch.device) -> tuple[World, list[RankRecord]]:
    """The world, with its nodes, and what its ranks say of themselves; binds this rank to its cores."""
    world = World(**{**vars(place), "ranks_per_node": 1}, device=device)
    records = world.all_gather(RankRecord.of(place, device))
    nodes = ranks_by_node(records)
    (ranks,) = (ranks for ranks in nodes if place.rank in ranks)
    on_node = [records[rank] for rank in ranks]
    affinity.bind(
        place.local_rank,
        cores=[record.cores for record in on_node],
        accelerators=[record.accelerator for record in on_node],
    )
    return replace(world, ranks_per_node=len(ranks), ranks_by_node=nodes), records


@contextmanager
def _told_to_others(watchdog: Watchdog, *, waits: bool) -> Iterator[None]:
    """A failure of this rank ends the others. Those that wait in gloo notice it by themselves."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, RuntimeError):  # as collectives raise it
            watchdog.print_whereabouts()
        if waits:
            watchdog.tell(f"another rank has failed: {type(error).__name__}: {error}")
        raise
