# SPDX-License-Identifier: Apache-2.0
"""Batches of CosmoFlow's samples for one rank, read by threads or by NVIDIA DALI.

batches = loader(dataset, batch_size=4, num_ranks=8, rank=3, seed=1, shuffle=True, num_workers=2)
for epoch in range(num_epochs):
    batches.set_epoch(epoch)
    for volume_NCDHW, target_N4 in batches:      # int16 and float32; log1p belongs to the device
        ...
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

from cosmoflow.data import Batch, Dataset
from harness.data import checks
from harness.data.checks import DataError
from harness.data.loader import Loader, in_threads
from harness.data.sampler import EpochBatches, Order


def loader(dataset: Dataset, *, num_workers: int = 0, kind: str = "plain", **order: Unpack[Order]) -> Loader:
    """Batches of a rank in the given order: `batch_size` samples each, every sample once an epoch; see EpochBatches.

    If the data set is a node part, `num_ranks` and `rank` are counted on its node: see node_parts.takers().
    kind "plain" reads in `num_workers` threads (0: when asked for the next batch); "dali" in as many threads of NVIDIA
    DALI. Both give the same samples in the same order. Raises DataError.
    """
    batches = checks.batches(Path(dataset.stems[0]).parent, dataset, **order)
    if kind == "plain":
        return Loader(_Reader(dataset, batches, num_threads=num_workers), batches)
    if kind == "dali":
        from cosmoflow import dali  # only where asked for: the extra [dali] may be missing

        return Loader(dali.Reader(dataset, batches, num_threads=max(1, num_workers)), batches)
    raise DataError(f"loader kind: found {kind!r}, expected 'plain' or 'dali'")


class _Reader:
    """The plain reader: threads that read whole batches, since reading, inflating and transposing is done in C."""

    def __init__(self, dataset: Dataset, batches: EpochBatches, *, num_threads: int):
        self.dataset, self.batches, self.num_threads = dataset, batches, num_threads

    def __iter__(self) -> Iterator[Batch]:
        return in_threads(self.dataset.batch, self.batches.indices(), num_threads=self.num_threads)
