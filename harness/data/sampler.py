# SPDX-License-Identifier: Apache-2.0
"""The samples of each step and rank: a pure function of seed, epoch and rank, so that a restart needs no state.

batches = EpochBatches(len(dataset), batch_size=4, num_ranks=8, rank=3, seed=1, shuffle=True)
batches.epoch = 2
for indices in batches: ...                    # it is the batch_sampler of a torch DataLoader
"""

from collections.abc import Iterator
from typing import Required, TypedDict

import numpy as np

from compliance.files.errors import UserError


class Order(TypedDict, total=False):
    """Arguments of EpochBatches; those that are not Required have defaults there."""

    batch_size: Required[int]
    """Samples of a rank's batch."""
    num_ranks: int
    """Ranks that share the samples."""
    rank: int
    """This rank, from 0."""
    seed: int
    """Seed of the shuffled order."""
    shuffle: bool
    """True for training; False keeps the order of the data set."""
    node_part: int | None
    """Number of the node part that the samples are, of which each has an order of its own; None for the whole data."""
    num_smallest: int | None
    """Samples of the smallest node part, which all ranks' number of steps follows from; None for `num_samples`."""


class SamplerError(UserError):
    """Fewer samples than the ranks need."""


class EpochBatches:
    """The sample indices of one rank's batches in one epoch.

    Shuffled (training): a permutation of seed and epoch, cut into global batches of num_ranks * batch_size samples.
    Each rank has the same number of samples in every step. Samples that do not fill a last global batch are left out
    of this epoch, as in the MLPerf HPC references: all steps have one shape, and schedules count the same steps.

    In order (evaluation): every sample exactly once. Each rank takes every num_ranks-th sample; ranks may have
    different numbers of batches.

    With node parts, `num_samples`, `num_ranks` and `rank` are counted on this node. Ranks of all nodes step together,
    as often as the smallest node part fills batches. If the parts differ by at most one sample, that is as often as the
    whole data set fills global batches: floor(floor(samples / nodes) / b) = floor(samples / (nodes * b)).
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        num_ranks: int = 1,
        rank: int = 0,
        seed: int = 0,
        shuffle: bool = False,
        node_part: int | None = None,
        num_smallest: int | None = None,
    ) -> None:
        """Raises SamplerError if training samples do not fill one global batch."""
        self.num_samples, self.batch_size = num_samples, batch_size
        self.num_ranks, self.rank = num_ranks, rank
        self.seed, self.shuffle = seed, shuffle
        self.node_part, self.num_smallest = node_part, num_samples if num_smallest is None else num_smallest
        self.epoch = 0
        if shuffle and self.num_smallest < self.global_batch_size:
            raise SamplerError(
                f"found {self.num_smallest} training samples, expected at least one global batch of "
                f"{self.global_batch_size}: {num_ranks} ranks x {batch_size} samples"
            )

    @property
    def global_batch_size(self) -> int:
        """Samples of a training step over all ranks that share these samples."""
        return self.num_ranks * self.batch_size

    def rng(self, *more: int) -> np.random.Generator:
        """Random numbers of the current epoch: they follow from seed, epoch, node part, and the given numbers."""
        node_part = () if self.node_part is None else (self.node_part,)
        return np.random.default_rng([self.seed, self.epoch, *node_part, *more])

    def indices(self) -> list[np.ndarray]:
        """One array of sample indices for each batch."""
        if self.shuffle:
            return self._steps(self.rng().permutation(self.num_samples))
        share = np.arange(self.rank, self.num_samples, self.num_ranks)
        return [share[start : start + self.batch_size] for start in range(0, len(share), self.batch_size)]

    def _steps(self, order: np.ndarray) -> list[np.ndarray]:
        """This rank's part of each global batch of `order`."""
        whole = order[: len(self) * self.global_batch_size]
        return list(whole.reshape(len(self), self.num_ranks, self.batch_size)[:, self.rank])

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.indices())

    def __len__(self) -> int:
        if self.shuffle:
            return self.num_smallest // self.global_batch_size
        share = len(range(self.rank, self.num_samples, self.num_ranks))
        return -(-share // self.batch_size)
