# SPDX-License-Identifier: Apache-2.0
"""The ranks of one node, in a group of their own, which may wait for each other for days.

    with NodeGroup(world) as node:                # a collective call of the ranks of each node
        if node.leads:
            result = long_work()
        result = node.broadcast(result if node.leads else None)

A collective of the world fails after its timeout, half an hour or the watchdog's minutes. Work that one rank does for
its node, such as staging, may take longer. A rank that stops meanwhile is still found, by the watchdog.
"""

from datetime import timedelta
from typing import Any, Self

import torch.distributed as dist

from harness.distributed.world import World

TIMEOUT = timedelta(days=7)
"""Longest wait of one rank for another in the groups of this module: longer than any job."""


class Group:
    """Some ranks of the world; a single rank needs no process group, and each call returns at once."""

    def __init__(self, world: World, ranks: tuple[int, ...]) -> None:
        """A collective call of these ranks alone. Each of them must be in equally many other process groups."""
        self.ranks = ranks
        """Ranks of the group in the world."""
        self.leads = world.rank == ranks[0]
        """True for the first rank of the group."""
        self._group: dist.ProcessGroup | None = None
        if len(ranks) > 1:
            self._group = dist.new_group(list(ranks), backend="gloo", timeout=TIMEOUT, use_local_synchronization=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._group:
            dist.destroy_process_group(self._group)

    def broadcast(self, value: Any) -> Any:
        """The value of the group's first rank: any small Python object."""
        if self._group is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=self.ranks[0], group=self._group)
        return box[0]


class NodeGroup(Group):
    """The ranks of this rank's node, ordered by local rank; see the module's docstring."""

    def __init__(self, world: World) -> None:
        """A collective call of all ranks of the node."""
        super().__init__(world, world.ranks_by_node[world.node_index])
