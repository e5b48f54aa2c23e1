# SPDX-License-Identifier: Apache-2.0
"""Batches of weather images for one rank, read by worker processes.

batches = loader(dataset, batch_size=2, num_ranks=8, rank=3, seed=1, shuffle=True, num_workers=2)
"""

from typing import Unpack

from ewa_fasterrcnn.data import Dataset
from harness.data import checks
from harness.data.loader import Loader, in_processes
from harness.data.sampler import Order


def loader(dataset: Dataset, *, num_workers: int = 0, **order: Unpack[Order]) -> Loader:
    """Batches of a rank in the given order, read in `num_workers` processes (0: in this one).

    `batch_size` images each, every image once an epoch: see EpochBatches. Raises DataError.
    """
    batches = checks.batches(dataset.paths[0].parent, dataset, **order)
    return Loader(in_processes(dataset, batches, num_processes=num_workers), batches)
