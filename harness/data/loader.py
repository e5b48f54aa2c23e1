# SPDX-License-Identifier: Apache-2.0
"""The batches of a rank's current epoch, read ahead by threads or by processes.

    batches = EpochBatches(len(dataset), batch_size=4, num_ranks=8, rank=3, seed=1, shuffle=True)
    loader = Loader(in_processes(dataset, batches, num_processes=4), batches)
    loader.set_epoch(2)
    for global_size, batch in zip(loader.global_sizes, loader, strict=True): ...

    yield from in_threads(dataset.batch, batches.indices(), num_threads=4)

Threads are for reading that is done in C without Python's lock: a batch then goes straight to where the device takes it
from. Processes are for the rest.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import starmap
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from harness.data.sampler import EpochBatches


class Loader:
    """What `reader` yields in the order of `batches`; a benchmark's data.py says what a batch holds.

    A reader that works in other processes hands an error on in place of a batch, since one that is raised there loses
    its type on the way: it is raised here, and names the sample.
    """

    def __init__(self, reader: Iterable[Any], batches: EpochBatches) -> None:
        self._reader, self._batches = reader, batches

    @property
    def global_sizes(self) -> list[int]:
        """Samples of each training step over all ranks: what a sum of losses is divided by."""
        return self._batches.global_sizes

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self._batches.epoch = epoch

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._reader:
            if isinstance(batch, Exception):
                raise batch
            yield batch


BATCHES_AHEAD = 2
"""Batches that each reading thread is ahead of the training loop."""

Batch = TypeVar("Batch")


def in_threads(read: Callable[..., Batch], *work: Iterable[Any], num_threads: int) -> Iterator[Batch]:
    """What `read` makes of the items of `work`, in their order; with 0 threads, when asked for the next batch."""
    items = zip(*work, strict=True)
    if num_threads == 0:
        yield from starmap(read, items)
        return
    pool, reading = ThreadPoolExecutor(num_threads), deque()
    try:
        for item in items:
            reading.append(pool.submit(read, *item))
            if len(reading) > num_threads * BATCHES_AHEAD:
                yield reading.popleft().result()
        while reading:
            yield reading.popleft().result()
    finally:  # also where the epoch is given up half-way
        pool.shutdown(cancel_futures=True)


def in_processes(dataset: Dataset, batches: EpochBatches, *, num_processes: int) -> DataLoader:
    """What the dataset's __getitems__ makes of each batch of indices: a whole batch, joined; 0: in this process."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_processes,
        persistent_workers=num_processes > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else starting an epoch would advance the run's own random state
    )


def _as_it_is(batch: Batch) -> Batch:
    return batch
