# SPDX-License-Identifier: Apache-2.0
"""Loader: the batches of a rank's current epoch, whoever reads them.

batches = Loader(reader, EpochBatches(len(dataset), batch_size=4, num_ranks=8, rank=3, seed=1, shuffle=True))
batches.set_epoch(2)
for global_size, batch in zip(batches.global_sizes, batches, strict=True): ...
"""

from collections.abc import Iterable, Iterator
from typing import Any

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
