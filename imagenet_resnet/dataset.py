# SPDX-License-Identifier: Apache-2.0
"""Interface of both forms of the data set, image folders and tar shards: encoded pictures with their labels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Unpack

import numpy as np

from harness.data.manifest import Manifest
from harness.data.sampler import EpochBatches, Order
from imagenet_resnet import jpeg
from imagenet_resnet.jpeg import Size, View


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Some samples. `pictures[i]` may read a file then: ask for it where there is time, in a reading thread."""

    pictures: Sequence[bytes]
    """Files as they are, JPEG as a rule."""
    labels: np.ndarray
    """int64, from 0."""
    name: Callable[[int], str]
    """Name of sample i in an error."""


class Dataset(Protocol):
    """One split."""

    manifest: Manifest | None
    num_classes: int

    def __len__(self) -> int: ...

    def batches(self, **order: Unpack[Order]) -> EpochBatches:
        """The order in which this form is read."""
        ...

    def fetch(self, batches: Iterable[np.ndarray]) -> Iterator[Encoded]:
        """The samples of each batch of indices."""
        ...


def choice_of_view(batches: EpochBatches, index: int) -> Callable[[Size], View]:
    """The function from a picture's size to the part that the model sees: random in training, the center otherwise.

    The part follows from seed, epoch and sample; the kind of loader and the number of threads do not matter.
    """
    if not batches.shuffle:
        return jpeg.evaluation_view
    return partial(jpeg.training_view, rng=batches.rng(index))
