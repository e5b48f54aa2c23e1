# SPDX-License-Identifier: Apache-2.0
"""Training in whole global batches, evaluation of every sample, for any number of samples, ranks and batch size."""

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


@given(**sizes)
def test_evaluation_takes_every_sample_exactly_once(num_samples, batch_size, num_ranks):
    ranks = all_ranks(num_samples, batch_size, num_ranks, shuffle=False)
    seen = [index for batches in ranks for batch in batches for index in batch]
    assert sorted(seen) == list(range(num_samples))
    assert all(len(batches) == len(batches.indices()) for batches in ranks)


@given(**sizes)
def test_training_drops_the_incomplete_last_global_batch(num_samples, batch_size, num_ranks):
    num_samples += num_ranks * batch_size
    ranks = all_ranks(num_samples, batch_size, num_ranks, shuffle=True)
    num_steps = num_samples // (num_ranks * batch_size)
    assert [[len(batch) for batch in batches] for batches in ranks] == num_ranks * [num_steps * [batch_size]]
    assert [len(batches) for batches in ranks] == num_ranks * [num_steps]
    seen = [index for batches in ranks for batch in batches for index in batch]
    assert len(set(seen)) == len(seen) == num_steps * num_ranks * batch_size
    assert set(seen) <= set(range(num_samples))


@pytest.mark.parametrize(
    ("num_ranks", "batch_size", "num_steps"), [(2048, 1, 59), (64, 2, 947), (256, 8, 59), (1024, 2, 59)]
)
def test_deepcam_takes_as_many_steps_as_the_reference(num_ranks, batch_size, num_steps):
    batches = EpochBatches(121_266, batch_size=batch_size, num_ranks=num_ranks, rank=num_ranks - 1, shuffle=True)
    assert len(batches) == num_steps
    assert {len(batch) for batch in batches.indices()} == {batch_size}


def test_other_samples_are_dropped_in_another_epoch():
    dropped = []
    for epoch in (1, 2):
        batches = all_ranks(11, 2, 2, shuffle=True, epoch=epoch)
        dropped.append(set(range(11)) - {index for rank in batches for batch in rank for index in batch})
    assert dropped[0] != dropped[1]


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


def test_training_samples_that_fill_no_global_batch_are_refused():
    with pytest.raises(SamplerError, match=r"found 7 training samples, .* global batch of 8: 4 ranks x 2 samples"):
        EpochBatches(7, batch_size=2, num_ranks=4, shuffle=True)
    assert len(EpochBatches(8, batch_size=2, num_ranks=4, shuffle=True)) == 1
