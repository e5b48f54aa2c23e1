# SPDX-License-Identifier: Apache-2.0
"""Every sample exactly once an epoch, whatever the numbers of samples, ranks and samples a batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.sampler import EpochBatches, SamplerError


def all_ranks(num_samples: int, batch_size: int, num_ranks: int, *, shuffle: bool, epoch: int = 0, seed: int = 5):
    ranks = []
    for rank in range(num_ranks):
        batches = EpochBatches(
            num_samples, batch_size=batch_size, num_ranks=num_ranks, rank=rank, seed=seed, shuffle=shuffle
        )
        batches.epoch = epoch
        ranks.append(batches)
    return ranks


sizes = {"num_samples": st.integers(1, 70), "batch_size": st.integers(1, 9), "num_ranks": st.integers(1, 8)}


@given(**sizes, shuffle=st.booleans())
def test_every_sample_exactly_once(num_samples, batch_size, num_ranks, shuffle):
    num_samples = max(num_samples, num_ranks)
    ranks = all_ranks(num_samples, batch_size, num_ranks, shuffle=shuffle)
    seen = [index for batches in ranks for batch in batches for index in batch]
    assert sorted(seen) == list(range(num_samples))
    assert all(len(batches) == len(batches.indices()) for batches in ranks)


@given(**sizes)
def test_ranks_step_together_with_at_least_one_sample_each(num_samples, batch_size, num_ranks):
    num_samples = max(num_samples, num_ranks)
    ranks = all_ranks(num_samples, batch_size, num_ranks, shuffle=True)
    counts = np.array([[len(batch) for batch in batches] for batches in ranks])
    assert counts.min() >= 1
    assert counts.max() <= batch_size + 1
    assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 1
    assert counts.sum(axis=0).tolist() == ranks[0].global_sizes


def test_the_order_follows_seed_and_epoch():
    def order(seed: int, epoch: int) -> np.ndarray:
        return np.concatenate(all_ranks(20, 4, 1, shuffle=True, epoch=epoch, seed=seed)[0].indices())

    assert np.array_equal(order(1, 1), order(1, 1))
    assert not np.array_equal(order(1, 0), order(1, 1))
    assert not np.array_equal(order(1, 0), order(2, 0))


def test_global_batches_do_not_depend_on_the_number_of_ranks():
    alone = all_ranks(24, 8, 1, shuffle=True)[0].indices()
    shared = [batches.indices() for batches in all_ranks(24, 2, 4, shuffle=True)]
    for step, batch in enumerate(alone):
        assert set(batch) == {index for rank in shared for index in rank[step]}


def test_evaluation_keeps_the_order_of_the_files():
    assert [batch.tolist() for batch in all_ranks(5, 2, 1, shuffle=False)[0].indices()] == [[0, 1], [2, 3], [4]]


def test_fewer_training_samples_than_ranks_are_refused():
    with pytest.raises(SamplerError, match="3 training samples cannot be shared by 4 ranks"):
        EpochBatches(3, batch_size=1, num_ranks=4, shuffle=True)
