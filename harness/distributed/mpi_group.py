# SPDX-License-Identifier: Apache-2.0
"""A process group over MPI, through mpi4py: for systems without NCCL, at sizes at which gloo ends.

    mpi_group.register()
    torch.distributed.init_process_group(mpi_group.NAME, store=store, rank=rank, world_size=num_ranks)

PyTorch's own MPI backend has to be compiled with PyTorch; this one is registered as a Python backend for CPU tensors.
The collectives of a group run in a thread of the group, in the order in which they were issued, so that
DistributedDataParallel exchanges a bucket of gradients while it computes the next. The thread tests for completion and
sleeps in between, since a blocking MPI call would take a core from the computation. Every group has its own
communicator; MPI must allow calls from several threads (MPI_THREAD_MULTIPLE).
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _create_work_from_future  # type: ignore[attr-defined]

from harness.distributed.launchers import LaunchError

NAME = "mpi4py"
"""The backend's name in torch.distributed, in which "mpi" is that of PyTorch's own."""
SPIN_S, SLEEP_S = 1e-3, 5e-5
"""A collective is polled without a pause at first, for short latency, and then at this interval."""
HALF_TYPES = (torch.bfloat16, torch.float16)
"""Types that MPI does not add up: PyTorch does, in a user-defined operation."""


def register() -> None:
    """Make the backend known to torch.distributed; more calls do nothing. LaunchError if mpi4py cannot be used."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise LaunchError(f"backend = 'mpi': {error}; install the extra [mpi], or use another backend") from None
    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        raise LaunchError("backend = 'mpi': this MPI does not allow calls from several threads; use another backend")
    if NAME.upper() not in dist.Backend._plugins:
        dist.Backend.register_backend(NAME, _create, extended_api=True, devices=["cpu"])


def _create(options: Any, _: object) -> "MPIGroup":
    """The group of the given ranks of MPI's world: a collective call of these ranks."""
    from mpi4py import MPI

    ranks = list(options.global_ranks_in_group) or list(range(options.group_size))
    members = MPI.COMM_WORLD.Get_group().Incl(ranks)
    return MPIGroup(MPI.COMM_WORLD.Create_group(members), options.timeout)


_ProcessGroup: Any = dist.ProcessGroup  # its stubs describe calls, and not the virtual methods that a backend defines


class MPIGroup(_ProcessGroup):
    """The collectives that training uses, over one communicator."""

    def __init__(self, communicator: Any, timeout: timedelta) -> None:
        """`communicator`: mpi4py's, for this group alone.  `timeout`: longest time of a collective."""
        super().__init__(communicator.rank, communicator.size)
        self._communicator, self._timeout_s = communicator, timeout.total_seconds()
        self._aborted = False
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mpi collectives", daemon=True)
        self._thread.start()

    def getBackendName(self) -> str:
        """The name by which torch.distributed knows the backend."""
        return NAME

    def set_timeout(self, timeout: timedelta) -> None:
        """Change the longest time of later collectives."""
        self._timeout_s = timeout.total_seconds()

    def shutdown(self) -> None:
        """Finish the issued collectives, and end the thread."""
        self._calls.put(None)
        self._thread.join()

    def abort(self) -> None:
        """Let all issued collectives fail, and end the thread."""
        self._aborted = True
        self.shutdown()

    def allreduce(self, tensors: Sequence[Tensor], opts: Any) -> dist.Work:
        """Replace each tensor by the reduction over all ranks."""

        def reduce() -> None:
            for tensor in tensors:
                self._reduce(tensor, opts.reduceOp)

        return self._issue(reduce, tensors)

    def broadcast(self, tensors: Sequence[Tensor], opts: Any) -> dist.Work:
        """Replace each tensor by that of the root."""

        def broadcast() -> None:
            for tensor in tensors:
                flat = tensor.detach().contiguous()
                self.wait(self._communicator.Ibcast(_bytes(flat), opts.rootRank))
                if flat.data_ptr() != tensor.data_ptr():
                    tensor.copy_(flat)

        return self._issue(broadcast, tensors)

    def allgather(self, outputs: Sequence[Sequence[Tensor]], inputs: Sequence[Tensor], opts: Any) -> dist.Work:
        """Fill the outputs of each input with the tensors of all ranks, which have one shape."""

        def gather() -> None:
            for parts, tensor in zip(outputs, inputs, strict=True):
                joined = torch.empty((len(parts), *tensor.shape), dtype=tensor.dtype)
                self.wait(self._communicator.Iallgather(_bytes(tensor.contiguous()), _bytes(joined)))
                _copy(joined, parts)

        return self._issue(gather, outputs)

    def gather(self, outputs: Sequence[Sequence[Tensor]], inputs: Sequence[Tensor], opts: Any) -> dist.Work:
        """Fill the root's outputs with the tensors of all ranks, which have one shape."""

        def gather() -> None:
            parts = outputs[0] if self.rank() == opts.rootRank else ()
            joined = torch.empty((len(parts), *inputs[0].shape), dtype=inputs[0].dtype)
            received = _bytes(joined) if parts else None
            self.wait(self._communicator.Igather(_bytes(inputs[0].contiguous()), received, opts.rootRank))
            _copy(joined, parts)

        return self._issue(gather, outputs)

    def barrier(self, opts: Any) -> dist.Work:
        """Complete when all ranks have called it."""
        return self._issue(lambda: self.wait(self._communicator.Ibarrier()), [])

    def send(self, tensors: Sequence[Tensor], destination: int, tag: int) -> dist.Work:
        """Send a tensor to a rank of the group."""
        content = tensors[0].detach().contiguous()
        return _Transfer(self, self._communicator.Isend(_bytes(content), destination, tag), content)

    def recv(self, tensors: Sequence[Tensor], source: int, tag: int) -> dist.Work:
        """Receive a tensor, which must be contiguous, from a rank of the group."""
        return _Transfer(self, self._communicator.Irecv(_bytes(tensors[0]), source, tag), tensors[0])

    def wait(self, request: Any) -> None:
        """Return when an MPI request is complete. RuntimeError after the timeout."""
        start = time.perf_counter()
        while not request.Test():
            seconds = time.perf_counter() - start
            if self._aborted or seconds > self._timeout_s:
                raise RuntimeError(f"MPI: a collective was not complete after {seconds:.1f} s")
            time.sleep(0 if seconds < SPIN_S else SLEEP_S)

    def _issue(self, work: Callable[[], object], result: object) -> dist.Work:
        future: torch.futures.Future = torch.futures.Future()
        self._calls.put(_Call(work, result, future))
        return _create_work_from_future(future)

    def _work(self) -> None:
        while call := self._calls.get():
            try:
                call.work()
                call.future.set_result(call.result)
            except Exception as error:
                call.future.set_exception(error)

    def _reduce(self, tensor: Tensor, operation: Any) -> None:
        """Reduce one tensor in place."""
        from mpi4py import MPI

        flat = tensor.detach().contiguous()
        buffer: Any
        if tensor.dtype in HALF_TYPES:
            buffer, total = [flat.view(torch.int16).numpy(), MPI.SHORT], _half_sum(tensor.dtype)
        else:
            buffer, total = flat.numpy(), MPI.SUM
        operation = getattr(operation, "op", operation)
        operations = {dist.ReduceOp.MAX: MPI.MAX, dist.ReduceOp.MIN: MPI.MIN, dist.ReduceOp.PRODUCT: MPI.PROD}
        self.wait(self._communicator.Iallreduce(MPI.IN_PLACE, buffer, op=operations.get(operation, total)))
        if operation == dist.ReduceOp.AVG:
            flat /= self.size()
        if flat.data_ptr() != tensor.data_ptr():
            tensor.copy_(flat)


@dataclass
class _Call:
    """A collective that was issued."""

    work: Callable[[], object]
    result: object
    future: torch.futures.Future


class _Transfer(dist.Work):
    """A tensor on its way from one rank to another."""

    def __init__(self, group: MPIGroup, request: Any, content: Tensor) -> None:
        """`content` must outlive the transfer."""
        super().__init__()
        self._group, self._request, self._content = group, request, content

    def wait(self, timeout: timedelta = timedelta(0)) -> bool:
        """Return when the transfer is complete."""
        self._group.wait(self._request)
        return True

    def is_completed(self) -> bool:
        """Return whether the transfer is complete."""
        return self._request.Test()


def _bytes(tensor: Tensor) -> np.ndarray:
    """The memory of a contiguous tensor."""
    return tensor.detach().view(-1).view(torch.uint8).numpy()


def _copy(joined: Tensor, parts: Sequence[Tensor]) -> None:
    for part, received in zip(parts, joined, strict=True):
        part.copy_(received)


@cache
def _half_sum(dtype: torch.dtype) -> Any:
    """MPI's sum of 16-bit numbers of a type that MPI does not know."""
    from mpi4py import MPI

    def add(received: Any, total: Any, _: Any) -> None:
        addend, sum_ = (torch.frombuffer(memory, dtype=dtype) for memory in (received, total))
        sum_ += addend

    return MPI.Op.Create(add, commute=True)
