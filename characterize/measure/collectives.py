# SPDX-License-Identifier: Apache-2.0
"""Timed and checked collective operations of torch.distributed and MPI, for characterize.commands.allreduce.

Message sizes follow nccl-tests: for all_gather, reduce_scatter and all_to_all the size counts the data of all ranks.
Before an operation is timed, its result is compared with the one that the ranks' inputs imply.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from characterize.measure.timing import spread_of
from harness.device import synchronize
from harness.distributed.world import World

DATA_TYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp64": torch.float64,
    "int32": torch.int32,
}
MPI_TYPES = {"fp32": np.float32, "fp64": np.float64, "int32": np.int32}
"""Types that every MPI has."""
MAX_SECONDS_PER_SIZE = 1.0
TOLERANCE = 0.02
"""Relative; the sums of small whole numbers are exact on up to 128 ranks, also in bf16."""
WRONG = "wrong result"
IN_PLACE = ("all_reduce", "broadcast")
"""Operations whose result replaces their input."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A collective operation on one rank."""

    collective: str
    num_values: int
    """Values of all ranks together, or of each rank for all_reduce, broadcast and point_to_point."""
    rank: int
    num_ranks: int

    @property
    def part(self) -> slice:
        """This rank's part of the values."""
        length = self.num_values // self.num_ranks
        return slice(self.rank * length, (self.rank + 1) * length)

    @property
    def peer(self) -> int:
        """Rank 0 sends to 1, 2 to 3, ...; a last rank without a peer does nothing."""
        return self.rank ^ 1

    def input(self) -> np.ndarray:
        """Values that this rank sends."""
        num_values = self.num_values // self.num_ranks if self.collective == "all_gather" else self.num_values
        return _values(self.rank, np.arange(num_values))

    def expected(self) -> np.ndarray | None:
        """Values that this rank must have afterwards; None if it receives nothing."""
        indices, ranks = np.arange(self.num_values), range(self.num_ranks)
        if self.collective == "all_reduce":
            return _sum(ranks, indices)
        if self.collective == "broadcast":
            return _values(0, indices)
        if self.collective == "all_gather":
            return np.concatenate([_values(rank, np.arange(self.num_values // self.num_ranks)) for rank in ranks])
        if self.collective == "reduce_scatter":
            return _sum(ranks, indices[self.part])
        if self.collective == "all_to_all":
            return np.concatenate([_values(rank, indices[self.part]) for rank in ranks])
        receives = self.rank % 2 == 1
        return _values(self.peer, indices) if receives else None

    def is_right(self, result: np.ndarray) -> bool:
        expected = self.expected()
        return expected is None or np.allclose(result.astype(np.float64), expected, rtol=TOLERANCE)


def _values(rank: int, indices: np.ndarray) -> np.ndarray:
    """0, 1 and 2 in turn, another start on each rank."""
    return (indices + rank) % 3


def _sum(ranks: Iterable[int], indices: np.ndarray) -> np.ndarray:
    """Sum of the ranks' values; ranks three apart have equal ones."""
    counts = np.bincount([rank % 3 for rank in ranks], minlength=3)
    return sum(count * _values(rank, indices) for rank, count in enumerate(counts))


def sweep(world: World, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Check and time every collective, type and size on the torch process group. All ranks call it."""
    library = distributed.get_backend()
    cases = [(collective, name) for collective in settings["collectives"] for name in settings["data_types"]]
    return [row for collective, name in cases for row in _sweep_torch(library, collective, name, world, settings)]


def _sweep_torch(library: str, collective: str, data_type: str, world: World, settings: dict[str, Any]):
    row = {"library": library, "collective": collective, "data_type": data_type}
    dtype = DATA_TYPES[data_type]
    for num_bytes in settings["sizes"]:
        num_values = _num_values(num_bytes, dtype.itemsize, world.num_ranks)
        case = Case(collective=collective, num_values=num_values, rank=world.rank, num_ranks=world.num_ranks)
        try:
            operation, result = _torch_operation(case, dtype, world.device)
            wrong = _torch_is_wrong(case, operation, result, world)
            yield row | _record(num_values * dtype.itemsize, _time(operation, world, settings["repeats"]), wrong)
        except (RuntimeError, ValueError, TypeError) as error:
            yield row | {"error": _first_line(error)}
            return  # a backend without this collective or type fails at every size, on every rank


def _torch_operation(case: Case, dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], object], Tensor]:
    """The operation, and the tensor that has its result."""
    source = torch.from_numpy(case.input()).to(device, dtype)
    length = case.num_values // case.num_ranks if case.collective == "reduce_scatter" else case.num_values
    result = source if case.collective in IN_PLACE else torch.zeros(length, dtype=dtype, device=device)
    operations = {
        "all_reduce": lambda: distributed.all_reduce(result),
        "broadcast": lambda: distributed.broadcast(result, src=0),
        "all_gather": lambda: distributed.all_gather_into_tensor(result, source),
        "reduce_scatter": lambda: distributed.reduce_scatter_tensor(result, source),
        "all_to_all": lambda: distributed.all_to_all_single(result, source),
        "point_to_point": lambda: _exchange(source, result, case),
    }
    return operations[case.collective], result


def _torch_is_wrong(case: Case, operation: Callable[[], object], result: Tensor, world: World) -> bool:
    """Run the operation once, which also warms it up; True if a rank has a wrong result."""
    operation()
    synchronize(world.device)
    own = not case.is_right(result.double().cpu().numpy())
    result.zero_()  # repeated sums would overflow
    return bool(world.all_reduce_sum(float(own)) > 0)


def _exchange(sent: Tensor, received: Tensor, case: Case) -> None:
    if case.peer >= case.num_ranks:
        return
    if case.rank < case.peer:
        distributed.send(sent, case.peer)
    else:
        distributed.recv(received, case.peer)


def _time(operation: Callable[[], object], world: World, repeats: int) -> list[float]:
    """Seconds of each repeat on the slowest rank, for which all ranks wait."""
    began, walls = time.perf_counter(), []
    for _ in range(repeats):
        world.barrier()
        synchronize(world.device)
        start = time.perf_counter()
        operation()
        synchronize(world.device)
        walls.append(time.perf_counter() - start)
        late = world.broadcast(time.perf_counter() - began > MAX_SECONDS_PER_SIZE)
        if late:
            break
    slowest = torch.tensor(walls, device=world.device)
    distributed.all_reduce(slowest, distributed.ReduceOp.MAX)
    return slowest.tolist()


def sweep_mpi(world, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Check and time every collective, type and size on MPI.COMM_WORLD. All ranks call it."""
    from mpi4py import MPI

    library = MPI.get_vendor()[0]
    cases = [(collective, name) for collective in settings["collectives"] for name in settings["data_types"]]
    return [row for collective, name in cases for row in _sweep_mpi(library, collective, name, world, settings)]


def _sweep_mpi(library: str, collective: str, data_type: str, world, settings: dict[str, Any]):
    row = {"library": library, "collective": collective, "data_type": data_type}
    if data_type not in MPI_TYPES:
        yield row | {"error": f"the MPI standard has no type for {data_type}"}
        return
    dtype = np.dtype(MPI_TYPES[data_type])
    for num_bytes in settings["sizes"]:
        num_values = _num_values(num_bytes, dtype.itemsize, world.size)
        case = Case(collective=collective, num_values=num_values, rank=world.rank, num_ranks=world.size)
        operation, result = _mpi_operation(case, dtype, world)
        operation()
        wrong = world.allreduce(not case.is_right(result)) > 0
        yield row | _record(num_values * dtype.itemsize, _time_mpi(operation, world, settings["repeats"]), wrong)


def _mpi_operation(case: Case, dtype: np.dtype, world) -> tuple[Callable[[], object], np.ndarray]:
    source = case.input().astype(dtype)
    length = case.num_values // case.num_ranks if case.collective == "reduce_scatter" else case.num_values
    result = source if case.collective == "broadcast" else np.zeros(length, dtype)
    operations = {
        "all_reduce": lambda: world.Allreduce(source, result),
        "broadcast": lambda: world.Bcast(result, root=0),
        "all_gather": lambda: world.Allgather(source, result),
        "reduce_scatter": lambda: world.Reduce_scatter_block(source, result),
        "all_to_all": lambda: world.Alltoall(source, result),
        "point_to_point": lambda: _exchange_mpi(source, result, case, world),
    }
    return operations[case.collective], result


def _exchange_mpi(sent: np.ndarray, received: np.ndarray, case: Case, world) -> None:
    if case.peer >= case.num_ranks:
        return
    if case.rank < case.peer:
        world.Send(sent, dest=case.peer)
    else:
        world.Recv(received, source=case.peer)


def _time_mpi(operation: Callable[[], object], world, repeats: int) -> list[float]:
    from mpi4py import MPI

    began, walls = time.perf_counter(), []
    for _ in range(repeats):
        world.Barrier()
        start = time.perf_counter()
        operation()
        walls.append(time.perf_counter() - start)
        if world.bcast(time.perf_counter() - began > MAX_SECONDS_PER_SIZE, root=0):
            break
    return [world.allreduce(wall, op=MPI.MAX) for wall in walls]


def _record(num_bytes: int, seconds: list[float], wrong: bool) -> dict[str, Any]:
    """Times of one size; a wrong result has no rate."""
    if wrong:
        return {"bytes": num_bytes, "error": WRONG}
    return {
        "bytes": num_bytes,
        "seconds": median(seconds),
        "fastest_seconds": min(seconds),
        "spread": spread_of(seconds),
    }


def _num_values(num_bytes: int, item_bytes: int, num_ranks: int) -> int:
    """Number of values, rounded to a multiple of the ranks so that all ranks have equal parts."""
    return max(1, round(num_bytes / item_bytes / num_ranks)) * num_ranks


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
