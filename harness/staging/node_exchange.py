# SPDX-License-Identifier: Apache-2.0
"""The first ranks of all nodes, in a ring: every node gets what each node has read.

    with Nodes(world) as nodes:                               # a collective call of the first ranks of all nodes
        while nodes.exchange(payload, sizes, take): ...       # take(node, payload) for the payload of every node

In a round each node contributes one payload. Each node sends to the next what it has received from the previous one, so
that it holds one payload at a time and has two connections for any number of nodes. All other exchanges are small, and
follow the same ring or a tree.

They use gloo, which every launcher can start, and not MPI, which fails as soon as a peer is gone.
"""

from collections.abc import Callable, Sequence

import torch

from harness.distributed.node_group import Group
from harness.distributed.world import World
from harness.staging import direct_io
from harness.staging.units import StagingError


class Nodes(Group):
    """The nodes of the world, as their first ranks see them; see the module's docstring."""

    member = "node"

    def __init__(self, world: World) -> None:
        """A collective call of the first ranks of all nodes."""
        super().__init__(world, tuple(ranks[0] for ranks in world.ranks_by_node), error=StagingError)

    def exchange(
        self, payload: memoryview | None, sizes: Sequence[int], take: Callable[[int, memoryview], None]
    ) -> bool:
        """Pass every node's payload, of the given sizes, to `take`.

        Returns False, and passes nothing, if a node has no payload: it could not read it.
        """
        if self._any(payload is None):
            return False
        assert payload is not None
        take(self.index, payload)
        for distance in range(1, self.count):
            origin = (self.index - distance) % self.count
            received = memoryview(direct_io.memory(max(1, sizes[origin])))[: sizes[origin]]
            self._pass_on(payload, received)
            take(origin, received)
            payload = received
        return True

    def divide(self, numbers: Sequence[int], limit: int) -> tuple[list[int], list[int]]:
        """Divide the numbers below `limit` that nodes have into those of several nodes and those of this node only."""
        if self._group is None:
            return [], list(numbers)
        num_nodes = torch.zeros(limit, dtype=torch.int32)
        num_nodes[list(numbers)] = 1
        self._group.allreduce(num_nodes).wait()
        return (num_nodes > 1).nonzero().flatten().tolist(), [number for number in numbers if num_nodes[number] == 1]

    def _any(self, condition: bool) -> bool:
        """True on all nodes if the condition holds on one of them."""
        num_true = torch.tensor([int(condition)])
        if self._group:
            self._group.allreduce(num_true).wait()
        return bool(num_true)

    def _pass_on(self, sent: memoryview, received: memoryview) -> None:
        """Send to the next node while receiving from the previous one."""
        assert self._group, "there are several nodes"
        following, previous = ((self.index + step) % self.count for step in (1, -1))
        works = [self._group.send([_tensor(sent)], following, 0)] if sent else []
        works += [self._group.recv([_tensor(received)], previous, 0)] if received else []
        for work in works:
            work.wait()


def _tensor(memory: memoryview) -> torch.Tensor:
    return torch.frombuffer(memory, dtype=torch.uint8)
