# SPDX-License-Identifier: Apache-2.0
"""The loader's reading and decoding done by NVIDIA DALI's threads: numpy and fused numpy files, into CPU memory.

Each epoch builds a pipeline (about 10 ms) that is fed the names of the rank's files batch by batch in the order of the
plain loader, so both kinds give the same samples; the samples pass the same checks.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

try:
    from nvidia.dali import fn, pipeline_def, types
except ImportError:
    pipeline_def = None

from deepcam import sample_files
from deepcam.data import Batch, Dataset
from deepcam.sample_files import SampleError
from harness.data import dali
from harness.data.checks import DataError
from harness.data.sampler import EpochBatches


class Reader:
    """Batches of one rank's current epoch, as deepcam.loader hands them on. DataError where DALI cannot."""

    def __init__(self, dataset: Dataset, batches: EpochBatches, *, num_threads: int) -> None:
        dali.require()
        if dataset.cached:
            raise DataError(f"{dataset.folder}: loader kind 'dali' reads files, found a cached data set; use 'plain'")
        if dataset.sample_format.name == "hdf5":
            raise DataError(
                f"{dataset.folder}: loader kind 'dali' reads the forms numpy and fused, found hdf5; "
                "`python -m deepcam.prepare` converts"
            )
        self.dataset, self.batches, self.num_threads = dataset, batches, num_threads

    def __iter__(self) -> Iterator[Batch | SampleError]:
        indices = self.batches.indices()
        waiting = iter(indices)
        try:
            for outputs in dali.outputs(partial(self._pipeline, indices), len(indices)):
                yield self._checked(next(waiting), [output.as_array() for output in outputs])
        except RuntimeError as error:
            yield SampleError(f"{self.dataset.paths(next(waiting)[0])[0]} or one beside it in the batch: DALI: {error}")

    def _checked(self, indices: np.ndarray, outputs: list[np.ndarray]) -> Batch | SampleError:
        fields, labels = outputs if len(outputs) == 2 else sample_files.split_fused(outputs[0])
        try:
            checked = [
                sample_files.check(self.dataset.paths(i), *sample)
                for i, *sample in zip(indices, fields, labels, strict=True)
            ]
        except SampleError as error:
            return error
        # Stacking copies: the arrays outlive DALI's buffers, which the next run overwrites.
        return tuple(torch.from_numpy(np.stack(part)) for part in zip(*checked, strict=True))

    def _pipeline(self, indices: list[np.ndarray]):
        num_files = len(self.dataset.sample_format.patterns)

        def names() -> Iterator[tuple[list[np.ndarray], ...]]:
            for batch in indices:
                paths = [self.dataset.paths(index) for index in batch]
                yield tuple([_bytes(sample[number]) for sample in paths] for number in range(num_files))

        @pipeline_def(
            batch_size=self.batches.batch_size, num_threads=self.num_threads, device_id=None, prefetch_queue_depth=2
        )
        def pipeline():
            files = fn.external_source(source=names(), num_outputs=num_files, dtype=types.UINT8, ndim=1)
            return tuple(fn.decoders.numpy(fn.io.file.read(file)) for file in files)

        return pipeline()


def _bytes(path) -> np.ndarray:
    return np.frombuffer(str(path).encode(), dtype=np.uint8)
