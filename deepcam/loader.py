# SPDX-License-Identifier: Apache-2.0
"""Batches of DeepCAM's samples for one rank, read by threads or by NVIDIA DALI.

batches = loader(dataset, batch_size=2, num_ranks=8, rank=3, seed=1, shuffle=True, num_workers=2)
"""

from typing import Unpack

from deepcam.data import Dataset
from harness.data import checks
from harness.data.checks import DataError
from harness.data.loader import Loader, in_processes
from harness.data.sampler import Order


def loader(dataset: Dataset, *, num_workers: int = 0, kind: str = "plain", **order: Unpack[Order]) -> Loader:
    """Batches of a rank in the given order: `batch_size` samples each, every sample once an epoch; see EpochBatches.

    kind "plain" reads in `num_workers` processes (0: in this one); "dali" in as many threads of NVIDIA DALI. Both give
    the same samples in the same order. Raises DataError.
    """
    batches = checks.batches(dataset.folder / dataset.split, dataset, **order)
    if kind == "plain":
        return Loader(in_processes(dataset, batches, num_processes=num_workers), batches)
    if kind == "dali":
        from deepcam import dali  # only where asked for: the extra [dali] may be missing

        return Loader(dali.Reader(dataset, batches, num_threads=max(1, num_workers)), batches)
    raise DataError(f"loader kind: found {kind!r}, expected 'plain' or 'dali'")
