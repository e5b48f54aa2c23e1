# SPDX-License-Identifier: Apache-2.0
"""One rank of each node, joined in a group of their own: what one node has read, all nodes get.

    nodes = Nodes(world)                                  # a collective of all ranks
    if nodes.leads:
        payloads = nodes.exchange(payload, sizes)         # this node's bytes in, every node's out

Through torch.distributed (gloo) and not MPI: it is there under every launcher, whereas MPI is one only under mpiexec
and srun --mpi=pmi2, and it fails as soon as a peer is gone.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import torch
import torch.distributed

from compliance.files.errors import UserError
from harness.data.manifest import ManifestError
from harness.distributed.world import World
from harness.staging import direct_io
from harness.staging.units import StagingError


class Nodes:
    """The first ranks of all nodes; see the module's head."""

    def __init__(self, world: World) -> None:
        self.leads = world.local_rank == 0
        """Whether this rank stages for its node; the others only wait."""
        leaders = torch.zeros(world.num_ranks)
        leaders[world.rank] = self.leads
        ranks = world.all_reduce_sum(leaders.to(world.device)).nonzero().flatten().tolist()
        self.count = len(ranks)
        self.index = world.node_index
        self._group = torch.distributed.new_group(ranks, backend="gloo") if self.count > 1 else None

    def exchange(self, payload: bytes | memoryview | None, sizes: list[int]) -> list[memoryview] | None:
        """Every node's payload, of the given sizes; None where one of them has none to give, which is a fault."""
        row_bytes = -(-(max(sizes) + 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        own = torch.empty(row_bytes, dtype=torch.uint8)
        own[-1] = payload is None
        if payload:
            own.numpy()[: len(payload)] = numpy.frombuffer(payload, dtype=numpy.uint8)
        rows = torch.frombuffer(direct_io.memory(self.count * row_bytes), dtype=torch.uint8)
        torch.distributed.all_gather_single(rows, own, group=self._group)
        rows = rows.view(self.count, row_bytes)
        if rows[:, -1].any():
            return None
        return [memoryview(row.numpy())[:size] for row, size in zip(rows, sizes, strict=True)]

    def divide(self, numbers: list[int], limit: int) -> tuple[list[int], list[int]]:
        """Of the numbers below `limit` that nodes have: those that several have, and those that only this one has."""
        if self.count == 1:
            return [], numbers
        num_nodes = torch.zeros(limit, dtype=torch.int32)
        num_nodes[numbers] = 1
        torch.distributed.all_reduce(num_nodes, group=self._group)
        return (num_nodes > 1).nonzero().flatten().tolist(), [number for number in numbers if num_nodes[number] == 1]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """A block in which no collective stands: where it fails on one node, it fails on all."""
        fault = None
        try:
            yield
        except (UserError, ManifestError) as error:
            fault = error
        self.agree(fault)

    def agree(self, fault: Exception | None) -> None:
        """Go on where no node has a fault; else all raise the first one."""
        texts: list[str | None] = [None if fault is None else str(fault)]
        if self.count > 1:
            own, texts = texts[0], [None] * self.count
            torch.distributed.all_gather_object(texts, own, group=self._group)
        for node, text in enumerate(texts):
            if text is not None:
                raise StagingError(f"node {node}: {text}" if self.count > 1 else text)
