# SPDX-License-Identifier: Apache-2.0
"""Batches of pictures for one rank, decoded by threads or by NVIDIA DALI.

    batches = loader(dataset, batch_size=256, side=224, num_ranks=8, rank=3, seed=1, shuffle=True, num_workers=8)
    for epoch in range(num_epochs):
        batches.set_epoch(epoch)
        for image_NHWC, label_N in batches:           # uint8 and int64
            ...

Seed, epoch and sample decide which part of a picture is shown; the kind of loader and the number of threads do not.

Shape legend: N samples, H = W pixels, C = red, green and blue.
"""

import sys
from collections.abc import Iterator
from typing import Unpack

import numpy as np
import torch

from harness.data.checks import DataError
from harness.data.loader import Loader, in_threads
from harness.data.sampler import EpochBatches, Order
from imagenet_resnet import jpeg
from imagenet_resnet.data import Batch
from imagenet_resnet.dataset import Dataset, Encoded, choice_of_view
from imagenet_resnet.jpeg import PictureError

GREY = 128


def loader(
    dataset: Dataset,
    *,
    side: int,
    num_workers: int = 0,
    kind: str = "plain",
    unreadable: str = "error",
    device: torch.device | None = None,
    **order: Unpack[Order],
) -> Loader:
    """Batches of a rank in the given order: `batch_size` pictures, `side` pixels each way; shuffled: cropped at random.

    kind "plain" decodes in `num_workers` threads (0: when asked for the next batch); "dali" in as many threads of
    NVIDIA DALI, or on `device` where that is a GPU. unreadable: "error", or "grey" for a grey picture in its place.
    """
    batches = dataset.batches(**order)
    if kind == "plain":
        return Loader(_Reader(dataset, batches, side=side, num_threads=num_workers, unreadable=unreadable), batches)
    if kind == "dali":
        from imagenet_resnet import dali  # only where asked for: the extra [dali] may be missing

        if unreadable != "error":
            raise DataError(f"unreadable: found {unreadable!r}, which loader kind 'dali' cannot do; use 'plain'")
        return Loader(dali.Reader(dataset, batches, side=side, num_threads=max(1, num_workers), device=device), batches)
    raise DataError(f"loader kind: found {kind!r}, expected 'plain' or 'dali'")


class _Reader:
    """The plain reader: threads that fetch and decode whole batches, since decoding and resizing are done in C."""

    def __init__(self, dataset: Dataset, batches: EpochBatches, *, side: int, num_threads: int, unreadable: str):
        self.dataset, self.batches, self.side = dataset, batches, side
        self.num_threads, self.unreadable = num_threads, unreadable

    def __iter__(self) -> Iterator[Batch]:
        order = self.batches.indices()
        return in_threads(self._render, order, self.dataset.fetch(order), num_threads=self.num_threads)

    def _render(self, indices: np.ndarray, encoded: Encoded) -> Batch:
        shape = (len(indices), self.side, self.side, 3)
        image_NHWC = torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
        pixels_NHWC = image_NHWC.numpy()
        for number, index in enumerate(indices.tolist()):
            try:
                pixels_NHWC[number] = jpeg.render(
                    encoded.pictures[number], choice_of_view(self.batches, index), self.side
                )
            except (PictureError, OSError) as error:
                self._replace(pixels_NHWC[number], f"{encoded.name(number)}: cannot be decoded: {error}")
        return image_NHWC, torch.from_numpy(encoded.labels)

    def _replace(self, pixels_HWC: np.ndarray, fault: str) -> None:
        if self.unreadable == "error":
            raise DataError(f"{fault}; fix it, or set unreadable = 'grey' in system.toml")
        print(f"warning: {fault}; a grey picture takes its place", file=sys.stderr)
        pixels_HWC[:] = GREY
