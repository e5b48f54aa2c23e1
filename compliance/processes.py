# SPDX-License-Identifier: Apache-2.0
"""Shares work among the cores: forked child processes that send back bytes.

    own, *others = shares(entries, sizes, 1 + num_children())
    with forked(work, others) as children:
        ...                                        # this process's own share, meanwhile
        for share, child in zip(others, children):
            child.result()                         # the bytes that work(share) returned, or None: do it here

The result of a child that fails is None: the caller then does the work itself, and fails as it would alone.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
MAX_CHILDREN = 7
THREADS = Path("/proc/self/task")
CAN_FORK = all(hasattr(os, name) for name in ("fork", "memfd_create", "sched_getaffinity"))
"""True on Linux; elsewhere one process does all the work."""


def num_children() -> int:
    """Number of processes to fork. 0 if other threads exist, since a fork could copy a lock that one of them holds,
    if this process ignores SIGCHLD, since it then cannot wait for its children, and on systems other than Linux.
    """
    if not CAN_FORK:
        return 0
    alone = THREADS.is_dir() and len(list(THREADS.iterdir())) == 1
    waits = signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    return min(MAX_CHILDREN, len(os.sched_getaffinity(0)) - 1) if alone and waits else 0


def shares(items: Sequence[Item], sizes: Sequence[int], num_shares: int) -> list[list[Item]]:
    """The items in shares of about equal size: each item, the largest first, goes to the smallest share."""
    parts: list[list[Item]] = [[] for _ in range(num_shares)]
    loads = [0] * num_shares
    for number in sorted(range(len(items)), key=lambda number: -sizes[number]):
        least = loads.index(min(loads))
        parts[least].append(items[number])
        loads[least] += sizes[number]
    return parts


class Child:
    """A process that works on one share and leaves its result in memory that its parent can read."""

    def __init__(self, work: Callable[[list[Item]], bytes], share: list[Item]) -> None:
        self._memory = os.fdopen(os.memfd_create("result"), "w+b", buffering=0)
        self._pid: int | None = None
        with suppress(OSError):  # the limit of processes is reached: result() is None
            self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                rest = memoryview(work(share))
                while rest:
                    rest = rest[self._memory.write(rest) :]
                code = 0
            finally:
                os._exit(code)  # the parent meets the same exception when it does the work itself

    def result(self) -> bytes | None:
        """Wait for the child; the result of its work, or None if it failed."""
        if self._pid is None:
            return None
        _, status = os.waitpid(self._pid, 0)
        self._pid = None
        self._memory.seek(0)
        return self._memory.read() if status == 0 else None

    def close(self) -> None:
        """End the child if nobody has waited for it."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        self._memory.close()


@contextmanager
def forked(work: Callable[[list[Item]], bytes], parts: Sequence[list[Item]]) -> Iterator[list[Child]]:
    """Fork a child for each part; none outlives the block."""
    children: list[Child] = []
    try:
        for part in parts:
            children.append(Child(work, part))
        yield children
    finally:
        for child in children:
            child.close()
