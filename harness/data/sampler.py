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
    """The sample indices of one rank's batches in one epoch; over all ranks, every sample appears exactly once.

    Shuffled (training): a permutation that follows from seed and epoch is cut into global batches of
    num_ranks * batch_size samples. All ranks take part in every step, so each global batch is shared as evenly as
    possible. The last global batch is shorter; if it has fewer samples than ranks, it joins the one before it, and a
    rank's batch then holds one sample more. Divide the sum of the losses of a step by its entry in `global_sizes`.

    In order (evaluation): each rank takes every num_ranks-th sample. Ranks may have different numbers of batches.
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
        """Raises SamplerError if a shuffled epoch has fewer samples than ranks."""
        if shuffle and num_samples < num_ranks:
            raise SamplerError(f"{num_samples} training samples cannot be shared by {num_ranks} ranks: use fewer ranks")
        self.num_samples, self.batch_size = num_samples, batch_size
        self.num_ranks, self.rank = num_ranks, rank
        self.seed, self.shuffle = seed, shuffle
        self.epoch = 0

    @property
    def global_sizes(self) -> list[int]:
        """Samples of each shuffled step over all ranks."""
        global_batch = self.num_ranks * self.batch_size
        sizes = [min(global_batch, self.num_samples - start) for start in range(0, self.num_samples, global_batch)]
        if len(sizes) > 1 and sizes[-1] < self.num_ranks:
            sizes[-2:] = [sizes[-2] + sizes[-1]]
        return sizes

    def indices(self) -> list[np.ndarray]:
        """One array of sample indices for each batch."""
        if not self.shuffle:
            share = np.arange(self.rank, self.num_samples, self.num_ranks)
            return [share[start : start + self.batch_size] for start in range(0, len(share), self.batch_size)]
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_samples)
        steps = np.split(order, np.cumsum(self.global_sizes)[:-1])
        return [np.array_split(step, self.num_ranks)[self.rank] for step in steps]

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.indices())

    def __len__(self) -> int:
        if self.shuffle:
            return len(self.global_sizes)
        share = len(range(self.rank, self.num_samples, self.num_ranks))
        return -(-share // self.batch_size)
