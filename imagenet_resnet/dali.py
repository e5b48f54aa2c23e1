# SPDX-License-Identifier: Apache-2.0
"""The loader's decoding done by NVIDIA DALI: in CPU threads, or by the GPU's JPEG decoder where there is one.

Order and crops are the plain loader's: the still encoded pictures of either form of the data set are handed to DALI
with the part of each that is to be shown, which it decodes and resizes. Its interpolation rounds a little differently.

Shape legend: N samples, H = W pixels, C = red, green and blue.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

try:
    from nvidia.dali import fn, pipeline_def, types
except ImportError:
    pipeline_def = None

from harness.data import dali
from harness.data.checks import DataError
from harness.data.sampler import EpochBatches
from imagenet_resnet import jpeg
from imagenet_resnet.data import Batch
from imagenet_resnet.dataset import Dataset, Encoded, choice_of_view
from imagenet_resnet.jpeg import PictureError, View


class Reader:
    """Batches of one rank's current epoch, as imagenet_resnet.loader hands them on. DataError without DALI."""

    def __init__(
        self, dataset: Dataset, batches: EpochBatches, *, side: int, num_threads: int, device: torch.device | None
    ):
        dali.require()
        self.dataset, self.batches, self.side, self.num_threads = dataset, batches, side, num_threads
        self.gpu = device.index if device is not None and device.type == "cuda" else None

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(self.num_threads) as pool:
            try:
                for image_NHWC, label_N in dali.outputs(partial(self._pipeline, self._feed(pool)), len(self.batches)):
                    copied = self._tensor(image_NHWC)
                    done = None if self.gpu is None else torch.cuda.current_stream(self.gpu).record_event()
                    yield copied, torch.tensor(label_N.as_array())
                    if done is not None:
                        done.synchronize()  # DALI fills the buffer anew in its next run, and the copy must have read it
            except RuntimeError as error:
                raise DataError(f"DALI could not decode a picture: {error}") from None

    def _feed(self, pool: ThreadPoolExecutor) -> Iterator[tuple]:
        """Inputs of DALI for each batch: files, corner and extent of the part to show, mirroring, labels."""
        order = self.batches.indices()
        for indices, encoded in zip(order, self.dataset.fetch(order), strict=True):
            samples = list(pool.map(self._sample, indices.tolist(), [encoded] * len(indices), range(len(indices))))
            files, views = zip(*samples, strict=True)
            corners = [np.array([view.left, view.top], dtype=np.int32) for view in views]
            extents = [np.array([view.width, view.height], dtype=np.int32) for view in views]
            mirrored = [np.array(view.mirrored, dtype=np.int32) for view in views]
            yield list(files), corners, extents, mirrored, list(encoded.labels)

    def _sample(self, index: int, encoded: Encoded, number: int) -> tuple[np.ndarray, View]:
        try:
            picture = encoded.pictures[number]
            return np.frombuffer(picture, dtype=np.uint8), choice_of_view(self.batches, index)(jpeg.size_of(picture))
        except (PictureError, OSError) as error:
            raise DataError(f"{encoded.name(number)}: cannot be decoded: {error}") from None

    def _pipeline(self, feed: Iterator[tuple]):
        on_gpu, side = self.gpu is not None, self.side

        @pipeline_def(batch_size=self.batches.batch_size, num_threads=self.num_threads, device_id=self.gpu)
        def pipeline():
            files, corner, extent, mirrored, label = fn.external_source(source=feed, num_outputs=5)
            picture = fn.decoders.image_slice(
                files, corner, extent, axis_names="WH", device="mixed" if on_gpu else "cpu", output_type=types.RGB
            )
            resized = fn.resize(picture, size=(side, side), interp_type=types.INTERP_LINEAR, antialias=True)
            return fn.flip(resized, horizontal=mirrored), label

        return pipeline()

    def _tensor(self, image_NHWC) -> torch.Tensor:
        """A copy, which outlives DALI's reused buffers, on the device that decoded."""
        if self.gpu is None:
            return torch.tensor(image_NHWC.as_array())
        return torch.from_dlpack(image_NHWC.as_tensor()).clone()
