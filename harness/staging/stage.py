# SPDX-License-Identifier: Apache-2.0
"""Copy a prepared data set from the parallel file system to every node's own storage, reading each file once in all.

    python -m harness.staging /project/cosmoflow /nvme/cosmoflow                       # one node
    srun --ntasks-per-node 1 python -m harness.staging /project/cosmoflow '/nvme/$USER/cosmoflow'
    srun --ntasks-per-node 1 python -m harness.staging --node-part /project/cosmoflow '/nvme/$USER/cosmoflow'
    with run.staging():
        folder = stage(source, target, world=world)       # a collective call; the data set's folder on this node

Each node reads a part of the source, all exchange what they read, and each writes all of it: reading, sending and
writing overlap. With --node-part a node gets only its part of the samples, see harness/data/node_parts.py. After an
interrupted staging, files already copied are hashed on the node, and only what is missing or differs is read again.
The target gets its name when every file has been checked against the manifest; on a fault, no node's target does, and
all ranks end. Each node expands environment variables in TARGET by itself.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal

from harness.data import listings
from harness.data.listings import Listings
from harness.data.node_parts import NodePart
from harness.distributed.node_group import NodeGroup
from harness.distributed.world import World
from harness.staging import staging_progress
from harness.staging.node_exchange import Nodes
from harness.staging.partial_copy import PartialCopy
from harness.staging.units import UNIT_BYTES, Source, StagingError

Form = Literal["replica", "node_part"]
"""Data that each node gets: the whole data set, or its part of the samples."""
NUM_READERS = max(2, min(4, os.cpu_count() or 1))
"""Threads that read. A parallel file system answers late, but many requests at once; few cores serve few threads."""
NUM_WRITERS = 3
"""Threads that write. More would only wait for each other, for the folder in which small files are created."""
NOTHING = memoryview(b"")
NUM_AHEAD = 8
"""Units read ahead of the exchange, and as many that are not yet written."""


def stage(source: Path, target: Path, *, world: World | None = None, form: Form = "replica") -> Path:
    """Copy the data set, or a node part of it, to every node; returns the copy's folder on this node.

    A collective call of all ranks, which may last for days. If one node fails, all ranks raise StagingError.
    """
    world = world or World()
    target = Path(os.path.expandvars(target)).absolute()
    fault = None
    with NodeGroup(world) as node:
        if node.leads:
            try:
                with Nodes(world) as nodes:
                    _stage_node(source, target, nodes, form=form, visible=world.rank == 0)
            except StagingError as error:
                fault = error
        if node.broadcast(fault is not None):
            raise fault or StagingError("staging failed; the first rank of this node says why")
    return target


def _stage_node(source: Path, target: Path, nodes: Nodes, *, form: Form, visible: bool) -> None:
    listed_by = nodes.from_first(lambda: listings.read(source))
    with nodes.agreed():
        partial_copy = _partial_copy(source, listed_by, target, nodes, form)
    with partial_copy:
        _transfer(partial_copy, nodes, visible=visible)
        partial_copy.complete()


def _partial_copy(source: Path, listed_by: Listings, target: Path, nodes: Nodes, form: Form) -> PartialCopy:
    """Files of the data set, or of its node part, that this node has and misses. Raises UserError."""
    count = nodes.count if form == "node_part" else 1
    opened = Source.open(
        source, listed_by=listed_by, max_unit_bytes=UNIT_BYTES, num_nodes=nodes.count, num_node_parts=count
    )
    part = NodePart(index=nodes.index, count=count).cut(opened.manifest) if form == "node_part" else None
    return PartialCopy(opened, target, part)


def _transfer(partial_copy: PartialCopy, nodes: Nodes, *, visible: bool) -> None:
    """Exchange the units that several nodes miss; read those that only this node misses."""
    units = partial_copy.source.units
    common, own = nodes.divide(partial_copy.missing, len(units))
    shares = [common[len(common) * k // nodes.count : len(common) * (k + 1) // nodes.count] for k in range(nodes.count)]
    num_bytes = sum(units[number].bytes for number in partial_copy.missing)
    with staging_progress.shown(num_bytes, visible=visible) as advance, _Writers(partial_copy, advance) as writers:
        reader = _Reader(partial_copy.source, [*shares[nodes.index], *own])
        if _exchange(partial_copy, nodes, shares, reader, writers):
            _copy(own, reader, writers)
        writers.finish()
        nodes.agree(reader.fault or writers.fault)


def _exchange(
    partial_copy: PartialCopy, nodes: Nodes, shares: list[list[int]], reader: "_Reader", writers: "_Writers"
) -> bool:
    """Rounds in which each node reads one unit and all get all of them; False if a fault ended them on all nodes."""
    missing = set(partial_copy.missing)
    for numbers in zip_longest(*shares):

        def take(node: int, payload: memoryview, numbers: tuple[int | None, ...] = numbers) -> None:
            number = numbers[node]
            if number is not None and number in missing:
                writers.put(number, payload)

        payload = None if writers.fault else NOTHING if numbers[nodes.index] is None else reader.read_next()
        sizes = [0 if number is None else partial_copy.source.units[number].bytes for number in numbers]
        if not nodes.exchange(payload, sizes, take):
            return False
    return True


def _copy(numbers: list[int], reader: "_Reader", writers: "_Writers") -> None:
    """Read and write the given units; a fault ends it."""
    for number in numbers:
        payload = None if writers.fault else reader.read_next()
        if payload is None:
            break
        writers.put(number, payload)


class _Reader:
    """Reads this node's units a few ahead of the exchange."""

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self.fault: StagingError | None = None
        self._source = source
        self._numbers = iter(numbers)
        self._pool = ThreadPoolExecutor(NUM_READERS, thread_name_prefix="staging reads")
        self._reading: deque[Future[memoryview]] = deque()

    def read_next(self) -> memoryview | None:
        """The next unit; None after a fault."""
        for number in islice(self._numbers, NUM_AHEAD - len(self._reading)):
            self._reading.append(self._pool.submit(self._source.read, self._source.units[number]))
        try:
            return self._reading.popleft().result()
        except StagingError as error:
            self.fault = error
            return None


class _Writers:
    """Threads that write what has arrived, a few units behind the exchange; after a fault they write no more units."""

    def __init__(self, partial_copy: PartialCopy, advance: Callable[[int], None]) -> None:
        self.fault: StagingError | None = None
        self._partial_copy, self._advance = partial_copy, advance
        self._pool = ThreadPoolExecutor(NUM_WRITERS, thread_name_prefix="staging writes")
        self._writing: deque[tuple[int, Future[None]]] = deque()

    def __enter__(self) -> "_Writers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def put(self, number: int, payload: memoryview) -> None:
        self._writing.append((len(payload), self._pool.submit(self._partial_copy.take, number, payload)))
        while len(self._writing) > NUM_AHEAD:
            self._wait()

    def finish(self) -> None:
        while self._writing:
            self._wait()

    def _wait(self) -> None:
        num_bytes, writing = self._writing.popleft()
        try:
            writing.result()
            self._advance(num_bytes)
        except StagingError as error:
            self.fault = self.fault or error
