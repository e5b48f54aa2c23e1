# SPDX-License-Identifier: Apache-2.0
"""The batches of a rank's current epoch, read ahead by threads or by processes.

    batches = EpochBatches(len(dataset), batch_size=4, num_ranks=8, rank=3, seed=1, shuffle=True)
    loader = Loader(in_processes(dataset, batches, num_processes=4), batches)
    loader.set_epoch(2)
    for batch in loader: ...

    yield from in_threads(dataset.batch, batches.indices(), num_threads=4)

Use threads if C code reads without holding Python's lock: the batch then needs no copy between processes. Otherwise
use processes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import starmap
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from harness.data.sampler import EpochBatches


class Loader:
    """The batches that `reader` yields in the order of `batches`; a benchmark's data.py defines their content.

    A reader that works in other processes passes an error on in place of a batch, since an error that is raised in a
    DataLoader's worker loses its type. It is raised here instead, and names the sample.
    """

    def __init__(self, reader: Iterable[Any], batches: EpochBatches) -> None:
        """`reader` yields one item for each batch of `batches`."""
        self._reader, self._batches = reader, batches

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
    """Yield `read(*items)` for the items of `work`, in their order; with 0 threads each is read on demand."""
    items = zip(*work, strict=True)
    if num_threads == 0:
        yield from starmap(read, items)
        return
    pool, reading = ThreadPoolExecutor(num_threads), deque[Future[Batch]]()
    try:
        for item in items:
            reading.append(pool.submit(read, *item))
            if len(reading) > num_threads * BATCHES_AHEAD:
                yield reading.popleft().result()
        while reading:
            yield reading.popleft().result()
    finally:  # the caller may also stop before the epoch's end
        pool.shutdown(cancel_futures=True)


def in_processes(dataset: Dataset, batches: EpochBatches, *, num_processes: int) -> DataLoader:
    """A DataLoader of dataset.__getitems__(indices) for each batch; with 0 processes this process reads."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_processes,
        persistent_workers=num_processes > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=_unchanged,
        generator=torch.Generator(),  # the default generator would be advanced by each epoch's start
    )


def _unchanged(batch: Batch) -> Batch:
    return batch
