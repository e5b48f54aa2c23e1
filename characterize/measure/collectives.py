# SPDX-License-Identifier: Apache-2.0
"""Timed collective operations of torch.distributed and MPI, for characterize.commands.allreduce.

Message sizes follow nccl-tests: for all_gather, reduce_scatter and all_to_all the size counts the data of all ranks.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import distributed

from characterize.measure.timing import spread_of, synchronize
from harness.distributed.world import World

BYTES_A_VALUE = 4
MAX_SECONDS_A_SIZE = 1.0


def sweep(world: World, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Time every collective at every size on the torch process group. All ranks call it."""
    rows, library = [], distributed.get_backend()
    for collective in settings["collectives"]:
        for num_bytes in settings["sizes"]:
            values = _num_values(num_bytes, world.num_ranks)
            try:
                operation = _torch_operation(collective, values, world)
                seconds = _time(operation, world, settings["repeats"])
            except (RuntimeError, ValueError) as error:
                rows.append({"library": library, "collective": collective, "error": _first_line(error)})
                break  # a backend without this collective fails at every size, on every rank
            rows.append(_row(library, collective, values * BYTES_A_VALUE, seconds))
    return rows


def sweep_mpi(world, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Time every collective at every size on MPI.COMM_WORLD. All ranks call it."""
    from mpi4py import MPI

    rows, library = [], MPI.get_vendor()[0]
    for collective in settings["collectives"]:
        for num_bytes in settings["sizes"]:
            values = _num_values(num_bytes, world.size)
            operation = _mpi_operation(collective, values, world)
            seconds = _time_mpi(operation, world, settings["repeats"])
            rows.append(_row(library, collective, values * BYTES_A_VALUE, seconds))
    return rows


def _row(library: str, collective: str, num_bytes: int, seconds: list[float]) -> dict[str, Any]:
    row = {"library": library, "collective": collective, "bytes": num_bytes}
    return row | {"seconds": median(seconds), "fastest_seconds": min(seconds), "spread": spread_of(seconds)}


def _num_values(num_bytes: int, num_ranks: int) -> int:
    """Number of values, rounded to a multiple of the ranks so that all ranks have equal parts."""
    return max(1, round(num_bytes / BYTES_A_VALUE / num_ranks)) * num_ranks


def _torch_operation(collective: str, values: int, world: World) -> Callable[[], object]:
    whole = torch.zeros(values, device=world.device)
    part = torch.zeros(values // world.num_ranks, device=world.device)
    other = torch.zeros(values, device=world.device)
    peer = world.rank ^ 1
    return {
        "all_reduce": lambda: distributed.all_reduce(whole),
        "broadcast": lambda: distributed.broadcast(whole, src=0),
        "all_gather": lambda: distributed.all_gather_into_tensor(whole, part),
        "reduce_scatter": lambda: distributed.reduce_scatter_tensor(part, whole),
        "all_to_all": lambda: distributed.all_to_all_single(other, whole),
        "point_to_point": lambda: _exchange(whole, other, peer, world),
    }[collective]


def _exchange(sent: torch.Tensor, received: torch.Tensor, peer: int, world: World) -> None:
    """Send from rank 0 to 1, 2 to 3, ..., in one direction; a last rank without a peer does nothing."""
    if peer >= world.num_ranks:
        return
    if world.rank < peer:
        distributed.send(sent, peer)
    else:
        distributed.recv(received, peer)


def _time(operation: Callable[[], object], world: World, repeats: int) -> list[float]:
    """Seconds of each repeat on the slowest rank, for which all ranks wait."""
    operation()
    began, walls = time.perf_counter(), []
    for _ in range(repeats):
        world.barrier()
        synchronize(world.device)
        start = time.perf_counter()
        operation()
        synchronize(world.device)
        walls.append(time.perf_counter() - start)
        late = world.broadcast(time.perf_counter() - began > MAX_SECONDS_A_SIZE)
        if late:
            break
    slowest = torch.tensor(walls, device=world.device)
    distributed.all_reduce(slowest, distributed.ReduceOp.MAX)
    return slowest.tolist()


def _mpi_operation(collective: str, values: int, world) -> Callable[[], object]:
    whole, other = np.zeros(values, np.float32), np.zeros(values, np.float32)
    part = np.zeros(values // world.size, np.float32)
    peer = world.rank ^ 1
    return {
        "all_reduce": lambda: world.Allreduce(whole, other),
        "broadcast": lambda: world.Bcast(whole, root=0),
        "all_gather": lambda: world.Allgather(part, whole),
        "reduce_scatter": lambda: world.Reduce_scatter_block(whole, part),
        "all_to_all": lambda: world.Alltoall(whole, other),
        "point_to_point": lambda: _exchange_mpi(whole, other, peer, world),
    }[collective]


def _exchange_mpi(sent: np.ndarray, received: np.ndarray, peer: int, world) -> None:
    if peer >= world.size:
        return
    if world.rank < peer:
        world.Send(sent, dest=peer)
    else:
        world.Recv(received, source=peer)


def _time_mpi(operation: Callable[[], object], world, repeats: int) -> list[float]:
    from mpi4py import MPI

    operation()
    began, walls = time.perf_counter(), []
    for _ in range(repeats):
        world.Barrier()
        start = time.perf_counter()
        operation()
        walls.append(time.perf_counter() - start)
        if world.bcast(time.perf_counter() - began > MAX_SECONDS_A_SIZE, root=0):
            break
    return [world.allreduce(wall, op=MPI.MAX) for wall in walls]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
