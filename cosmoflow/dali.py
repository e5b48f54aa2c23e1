# SPDX-License-Identifier: Apache-2.0
"""The loader's reading done by NVIDIA DALI's threads: numpy and uncompressed TFRecord files, into CPU memory.

The order is the plain loader's: each epoch a pipeline is built over the rank's files in the order of its batches (about
10 ms), so both kinds give the same samples. DALI checks no CRC: `python -m cosmoflow.prepare --verify FOLDER` does.

Shape legend: N samples, C = 4 redshifts, D = H = W voxels along each edge.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

try:
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali import tfrecord as dali_tfrecord
except ImportError:
    pipeline_def = None

from cosmoflow import sample_files, tfrecord
from cosmoflow.data import Batch, Dataset
from harness.data import dali
from harness.data.checks import DataError
from harness.data.sampler import EpochBatches


class Reader:
    """Batches of one rank's current epoch, as cosmoflow.loader hands them on. DataError where DALI cannot."""

    def __init__(self, dataset: Dataset, batches: EpochBatches, *, num_threads: int):
        _check_readable(dataset)
        self.dataset, self.batches, self.num_threads = dataset, batches, num_threads

    def __iter__(self) -> Iterator[Batch]:
        indices = self.batches.indices()
        stream = self._samples([self.dataset.stems[index] for batch in indices for index in batch])
        for batch in indices:
            volume_NCDHW, target_N4 = self.dataset.empty_batch(len(batch), pin_memory=torch.cuda.is_available())
            for row in range(len(batch)):
                volume, target_N4.numpy()[row] = next(stream)
                volume_NCDHW.numpy()[row] = sample_files.checked_counts(Path(self.dataset.stems[batch[row]]), volume)
            yield volume_NCDHW, target_N4

    def _samples(self, stems: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The samples in order, each only until the next one: DALI's batches are all of one size and reuse buffers."""
        try:
            for outputs in dali.outputs(partial(self._pipeline, stems), -(-len(stems) // self.batches.batch_size)):
                yield from zip(*(output.as_array() for output in outputs), strict=True)
        except RuntimeError as error:
            raise DataError(f"{Path(stems[0]).parent}: DALI could not read a sample: {error}") from None

    def _pipeline(self, stems: Sequence[str]):
        options = {"batch_size": self.batches.batch_size, "num_threads": self.num_threads, "device_id": None}
        if self.dataset.sample_format.name == "numpy":
            return _numpy_pipeline(stems, **options)
        return _tfrecord_pipeline(stems, edge=self.dataset.sample_shape[-1], **options)


def _check_readable(dataset: Dataset) -> None:
    """Raise DataError, before the clock starts, where DALI is missing or cannot read the data set's form."""
    folder, first = Path(dataset.stems[0]).parent, Path(dataset.stems[0])
    dali.require()
    if dataset.cached:
        raise DataError(f"{folder}: loader kind 'dali' reads files, found a cached data set; use 'plain' or no cache")
    if dataset.sample_format.name not in ("numpy", "tfrecord"):
        found = f"found {dataset.sample_format.name}"
        raise DataError(f"{folder}: loader kind 'dali' reads numpy or tfrecord, {found}; prepare.py converts")
    if dataset.sample_format.name == "numpy":
        return
    if tfrecord.is_compressed(dataset.sample_format.paths(first)[0]):
        raise DataError(f"{folder}: loader kind 'dali' reads uncompressed TFRecord files, found gzip; use 'plain'")
    if not first.with_name(first.name + tfrecord.INDEX_SUFFIX).exists():
        raise DataError(
            f"{first}{tfrecord.INDEX_SUFFIX}: found no such index, which DALI needs; prepare.py --describe writes it"
        )


def _numpy_pipeline(stems: Sequence[str], **options):
    data, labels = ([stem + suffix for stem in stems] for suffix in sample_files.FORMATS["numpy"].suffixes)

    @pipeline_def(**options)
    def pipeline():
        return fn.readers.numpy(files=data), fn.readers.numpy(files=labels)

    return pipeline()


def _tfrecord_pipeline(stems: Sequence[str], *, edge: int, **options):
    features = {
        "x": dali_tfrecord.FixedLenFeature([], dali_tfrecord.string, ""),
        "y": dali_tfrecord.FixedLenFeature([sample_files.NUM_TARGETS], dali_tfrecord.float32, 0.0),
    }

    @pipeline_def(**options)
    def pipeline():
        sample = fn.readers.tfrecord(
            path=[f"{stem}.tfrecord" for stem in stems],
            index_path=[f"{stem}{tfrecord.INDEX_SUFFIX}" for stem in stems],
            features=features,
        )
        shape_DHWC = [edge, edge, edge, sample_files.NUM_REDSHIFTS]
        return fn.reinterpret(sample["x"], dtype=types.INT16, shape=shape_DHWC), sample["y"]

    return pipeline()
