# SPDX-License-Identifier: Apache-2.0
"""The ranks of one node, in a group of their own, which may wait for each other for days.

    with NodeGroup(world) as node:                # a collective call of the ranks of each node
        if node.leads:
            result = long_work()
        result = node.broadcast(result if node.leads else None)

A collective of the world fails after its timeout, half an hour or the watchdog's minutes. Work that one rank does for
its node, such as staging, may take longer. A rank that stops meanwhile is still found, by the watchdog.

The groups are gloo's own, not those of torch.distributed.new_group(): that waits for all ranks of the world, or needs
all its callers to be in equally many groups already. They connect two ranks when these first communicate.
"""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _get_default_store

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
        """A collective call of these ranks alone.

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
        self._group: Any = self._connected() if self.count > 1 else None

    def _connected(self) -> Any:  # PyTorch's stubs do not list the methods of ProcessGroupGloo
        store = dist.PrefixStore(f"{type(self).__name__}/{self.ranks[0]}", _get_default_store())
        number = store.add(f"groups of member {self.index}", 1)  # a key's second use would meet the first one's values
        return dist.ProcessGroupGloo(dist.PrefixStore(str(number), store), self.index, self.count, TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._group = None

    def broadcast(self, value: Any) -> Any:
        """The value of the group's first rank: any small Python object."""
        if self._group is None:
            return value
        content = _bytes(value)
        size = torch.tensor([len(content)])
        self._group.broadcast(size, 0).wait()
        if not self.leads:
            content = torch.empty(int(size), dtype=torch.uint8)
        self._group.broadcast(content, 0).wait()
        return _value(content)

    def all_gather(self, value: Any) -> list[Any]:
        """The values of all members, in their order: any small Python objects."""
        if self._group is None:
            return [value]
        content = _bytes(value)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in self.ranks]
        self._group.allgather(sizes, torch.tensor([len(content)])).wait()
        padded = torch.zeros(int(max(sizes)), dtype=torch.uint8)
        padded[: len(content)] = content
        contents = [torch.empty_like(padded) for _ in self.ranks]
        self._group.allgather(contents, padded).wait()
        return [_value(content[: int(size)]) for content, size in zip(contents, sizes, strict=True)]

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
        for number, text in enumerate(self.all_gather(None if fault is None else str(fault))):
            if text is not None:
                raise self._error(f"{self.member} {number}: {text}" if self._group else text)


def _bytes(value: Any) -> Tensor:
    return torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)


def _value(content: Tensor) -> Any:
    return pickle.loads(content.numpy().tobytes())


class NodeGroup(Group):
    """The ranks of this rank's node, ordered by local rank; see the module's docstring."""

    member = "local rank"

    def __init__(self, world: World, *, error: type[UserError] = UserError) -> None:
        """A collective call of all ranks of the node."""
        super().__init__(world, world.ranks_by_node[world.node_index], error=error)
