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


class SamplerError(UserError):
    """Fewer samples than the ranks need."""


class EpochBatches:
    """The sample indices of one rank's batches in one epoch.

    Shuffled (training): a permutation of seed and epoch, cut into global batches of num_ranks * batch_size samples.
    Each rank has the same number of samples in every step. Samples that do not fill a last global batch are left out
    of this epoch, as in the MLPerf HPC references: all steps have one shape, and schedules count the same steps.

    In order (evaluation): every sample exactly once. Each rank takes every num_ranks-th sample; ranks may have
    different numbers of batches.
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
    ) -> None:
        """Raises SamplerError if training samples do not fill one global batch."""
        self.num_samples, self.batch_size = num_samples, batch_size
        self.num_ranks, self.rank = num_ranks, rank
        self.seed, self.shuffle = seed, shuffle
        self.epoch = 0
        if shuffle and num_samples < self.global_batch_size:
            raise SamplerError(
                f"found {num_samples} training samples, expected at least one global batch of "
                f"{self.global_batch_size}: {num_ranks} ranks x {batch_size} samples"
            )

    @property
    def global_batch_size(self) -> int:
        """Samples of a training step over all ranks that share these samples."""
        return self.num_ranks * self.batch_size

    def indices(self) -> list[np.ndarray]:
        """One array of sample indices for each batch."""
        if self.shuffle:
            return self._steps(np.random.default_rng([self.seed, self.epoch]).permutation(self.num_samples))
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
            return self.num_samples // self.global_batch_size
        share = len(range(self.rank, self.num_samples, self.num_ranks))
        return -(-share // self.batch_size)
