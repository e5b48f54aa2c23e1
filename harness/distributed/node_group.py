# SPDX-License-Identifier: Apache-2.0
"""The ranks of one node, in a group of their own, which may wait for each other for days.

    with NodeGroup(world) as node:                # a collective call of the ranks of each node
        if node.leads:
            result = long_work()
        result = node.broadcast(result if node.leads else None)

A collective of the world fails after its timeout, half an hour or the watchdog's minutes. Work that one rank does for
its node, such as staging, may take longer. A rank that stops meanwhile is still found, by the watchdog.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self, TypeVar

import torch.distributed as dist

from compliance.files.errors import UserError
from harness.distributed.world import World

Value = TypeVar("Value")

TIMEOUT = timedelta(days=7)
"""Longest wait of one rank for another in the groups of this module: longer than any job."""


class Group:
    """Some ranks of the world; a single rank needs no process group, and each call returns at once."""

    member = "rank"
    """Name of a member in messages."""

    def __init__(self, world: World, ranks: tuple[int, ...], *, error: type[UserError] = UserError) -> None:
        """A collective call of these ranks alone. Each of them must be in equally many other process groups.

        error: type of the error that all members raise if one of them fails.
        """
        self._error = error
        self.ranks = ranks
        """Ranks of the group in the world."""
        self.count = len(ranks)
        """Number of members."""
        self.index = ranks.index(world.rank)
        """Number of this member, from 0."""
        self.leads = self.index == 0
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

    def from_first(self, work: Callable[[], Value]) -> Value:
        """The result of `work`, which only the first member calls. If it raises a UserError, all members do."""
        value, fault = None, None
        if self.leads:
            try:
                value = work()
            except UserError as error:
                fault = str(error)
        value, fault = self.broadcast((value, fault))
        if fault is not None:
            raise self._error(fault)
        return value

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """A block without collectives. If it raises a UserError on one member, all members raise it at its end."""
        fault = None
        try:
            yield
        except UserError as error:
            fault = error
        self.agree(fault)

    def agree(self, fault: UserError | None) -> None:
        """Return if no member has a fault; otherwise raise that of the first such member on all members."""
        texts: list[Any] = [None if fault is None else str(fault)]
        if self._group:
            own, texts = texts[0], [None] * self.count
            dist.all_gather_object(texts, own, group=self._group)
        for number, text in enumerate(texts):
            if text is not None:
                raise self._error(f"{self.member} {number}: {text}" if self._group else text)


class NodeGroup(Group):
    """The ranks of this rank's node, ordered by local rank; see the module's docstring."""

    member = "local rank"

    def __init__(self, world: World, *, error: type[UserError] = UserError) -> None:
        """A collective call of all ranks of the node."""
        super().__init__(world, world.ranks_by_node[world.node_index], error=error)
