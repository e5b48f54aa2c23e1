# SPDX-License-Identifier: Apache-2.0
"""Copy a prepared data set from the parallel file system to every node's own storage, reading each file once in all.

    python -m harness.staging /project/cosmoflow /nvme/cosmoflow                       # one node
    srun --ntasks-per-node 1 python -m harness.staging /project/cosmoflow '/nvme/$USER/cosmoflow'
    srun --ntasks-per-node 1 python -m harness.staging --node-part /project/cosmoflow '/nvme/$USER/cosmoflow'
    with run.staging():
        folder = stage(source, target, world=world)       # a collective; the data set's folder on this node

Each node reads a part of the source, all exchange what they read, and each writes all of it: reading, sending and
writing overlap. With --node-part a node gets only its part of the samples, see harness/data/node_parts.py. After an
interrupted staging, files already copied are not read again.
The target gets its name when every file has been checked against
the manifest; on a fault, no node's target does, and all ranks end. Variables of the environment in the target's name
are each node's own.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal

from rich import progress
from rich.console import Console

from compliance import command_line
from harness.data.node_parts import NodePart
from harness.distributed.world import World, launch
from harness.staging.node_exchange import Nodes
from harness.staging.partial_copy import PartialCopy
from harness.staging.units import UNIT_BYTES, Source, StagingError

Form = Literal["replica", "node_part"]
"""What each node gets: the whole data set, or its part of the samples."""
MAX_ROUND_BYTES = 1 << 30
"""What all nodes read at once: units are smaller where nodes are many."""
MIN_UNIT_BYTES = 1 << 16
NUM_READERS = max(2, min(4, os.cpu_count() or 1))
"""Threads that read: a parallel file system answers late, but many at once; on few cores they wait for each other."""
NUM_WRITERS = 3
"""Threads that write: more only wait for each other, for the folder in which small files are made."""
NUM_AHEAD = 8
"""Units read ahead of the exchange, and as many not yet written."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; `arguments` in place of the command line's."""
    parser = command_line.command("harness.staging", __doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="prepared data set, or its archives")
    parser.add_argument("target", type=Path, metavar="TARGET", help="folder on the node's own storage")
    parser.add_argument("--node-part", "--shard", action="store_true", help="to each node only its part of the samples")
    options = parser.parse_args(arguments)
    form: Form = "node_part" if options.node_part else "replica"
    with launch() as world:
        folder = stage(options.source, options.target, world=world, form=form)
        if world.rank == 0:
            print(f"{folder}: staged on {world.num_nodes} nodes, on each a {form.replace('_', ' ')}")


def stage(source: Path, target: Path, *, world: World | None = None, form: Form = "replica") -> Path:
    """Bring the data set, or a node part of it, to every node; where it is there.

    A collective of all ranks; StagingError on all of them where one node fails.
    """
    world = world or World()
    target = Path(os.path.expandvars(target)).absolute()
    nodes = Nodes(world)
    fault = None
    if nodes.leads:
        try:
            _stage_node(source, target, nodes, form=form, visible=world.rank == 0)
        except StagingError as error:
            fault = error
    num_faults = int(world.all_reduce_sum(int(fault is not None)))
    if num_faults:
        raise fault or StagingError("staging failed; the first rank of this node says why")
    return target


def _stage_node(source: Path, target: Path, nodes: Nodes, *, form: Form, visible: bool) -> None:
    unit_bytes = max(MIN_UNIT_BYTES, min(UNIT_BYTES, MAX_ROUND_BYTES // nodes.count))
    with nodes.agreed():
        if form == "replica":
            landing = PartialCopy(Source.open(source, unit_bytes=unit_bytes), target)
        else:
            opened = Source.open(source, unit_bytes=unit_bytes, num_node_parts=nodes.count)
            landing = PartialCopy(opened, target, NodePart(index=nodes.index, count=nodes.count).cut(opened.manifest))
    with landing:
        _transfer(landing, nodes, visible=visible)
        landing.complete()


def _transfer(landing: PartialCopy, nodes: Nodes, *, visible: bool) -> None:
    """What several nodes miss is read once and exchanged; what only this one misses, it reads for itself."""
    units = landing.source.units
    common, own = nodes.divide(landing.missing, len(units))
    shares = [common[len(common) * k // nodes.count : len(common) * (k + 1) // nodes.count] for k in range(nodes.count)]
    num_bytes = sum(units[number].bytes for number in landing.missing)
    with _bar(num_bytes, visible=visible) as advance, _Writers(landing, advance) as writers:
        reader = _Reader(landing.source, [*shares[nodes.index], *own])
        if _exchange(landing, nodes, shares, reader, writers):
            _copy(own, reader, writers)
        writers.finish()
        nodes.agree(reader.fault or writers.fault)


def _exchange(
    landing: PartialCopy, nodes: Nodes, shares: list[list[int]], reader: "_Reader", writers: "_Writers"
) -> bool:
    """Rounds in which each node reads one unit and all get them all; False where a fault has ended them everywhere."""
    missing = set(landing.missing)
    for numbers in zip_longest(*shares):
        payload = None if writers.fault else b"" if numbers[nodes.index] is None else reader.read_next()
        sizes = [0 if number is None else landing.source.units[number].bytes for number in numbers]
        payloads = nodes.exchange(payload, sizes)
        if payloads is None:
            return False
        for number, payload in zip(numbers, payloads, strict=True):
            if number in missing:
                writers.put(number, payload)
    return True


def _copy(numbers: list[int], reader: "_Reader", writers: "_Writers") -> None:
    """Read and write the given units; a fault ends it."""
    for number in numbers:
        payload = None if writers.fault else reader.read_next()
        if payload is None:
            break
        writers.put(number, memoryview(payload))


class _Reader:
    """Reads this node's units a few ahead of the exchange."""

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self.fault: StagingError | None = None
        self._source = source
        self._numbers = iter(numbers)
        self._pool = ThreadPoolExecutor(NUM_READERS, thread_name_prefix="staging reads")
        self._reading: deque[Future[bytes | memoryview]] = deque()

    def read_next(self) -> bytes | memoryview | None:
        """The next unit; None after a fault."""
        for number in islice(self._numbers, NUM_AHEAD - len(self._reading)):
            self._reading.append(self._pool.submit(self._source.read, self._source.units[number]))
        try:
            return self._reading.popleft().result()
        except StagingError as error:
            self.fault = error
            return None


class _Writers:
    """Threads that write what has come, a few units behind the exchange; after a fault they only drain."""

    def __init__(self, landing: PartialCopy, advance: Callable[[int], None]) -> None:
        self.fault: StagingError | None = None
        self._landing, self._advance = landing, advance
        self._pool = ThreadPoolExecutor(NUM_WRITERS, thread_name_prefix="staging writes")
        self._writing: deque[tuple[int, Future[None]]] = deque()

    def __enter__(self) -> "_Writers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def put(self, number: int, payload: memoryview) -> None:
        self._writing.append((len(payload), self._pool.submit(self._landing.take, number, payload)))
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


@contextmanager
def _bar(num_bytes: int, *, visible: bool) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (
        progress.TextColumn("staging"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    hidden = not (visible and console.is_terminal)
    with progress.Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=num_bytes)
        yield lambda more: bar.advance(task, more)
