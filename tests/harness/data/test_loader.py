# SPDX-License-Identifier: Apache-2.0
"""Readers keep the order of the batches, read ahead no further than they should, and hand on what goes wrong."""

import threading

import pytest
import torch

from harness.data import loader
from harness.data.sampler import EpochBatches


class Squares(torch.utils.data.Dataset):
    """Sample i is i squared; a whole batch at once."""

    def __len__(self) -> int:
        return 10

    def __getitems__(self, indices: list[int]) -> torch.Tensor:
        return torch.tensor(indices) ** 2


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_threads_keep_the_order(num_threads):
    batches = loader.in_threads(lambda letter, number: letter * number, "abcdef", range(6), num_threads=num_threads)
    assert list(batches) == ["", "b", "cc", "ddd", "eeee", "fffff"]


def test_threads_are_at_most_two_batches_each_ahead():
    taken = []
    work = (taken.append(number) or number for number in range(100))
    batches = loader.in_threads(abs, work, num_threads=3)
    assert next(batches) == 0
    assert len(taken) == 3 * loader.BATCHES_AHEAD + 1
    batches.close()
    assert len(taken) == 3 * loader.BATCHES_AHEAD + 1


def test_an_epoch_that_is_given_up_leaves_no_threads():
    before = threading.active_count()
    batches = loader.in_threads(abs, range(100), num_threads=3)
    next(batches)
    threads = [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]
    batches.close()
    assert not any(thread.is_alive() for thread in threads)
    assert threading.active_count() == before


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_error_is_raised_in_its_place(num_threads):
    batches = loader.in_threads(lambda number: 12 // number, [3, 2, 0, 1], num_threads=num_threads)
    assert (next(batches), next(batches)) == (4, 6)
    with pytest.raises(ZeroDivisionError):
        next(batches)


@pytest.mark.parametrize("num_processes", [0, 2])
def test_processes_give_whole_batches_and_leave_the_random_state_alone(num_processes):
    batches = EpochBatches(10, batch_size=4, seed=3, shuffle=True)
    reader = loader.in_processes(Squares(), batches, num_processes=num_processes)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert [batch.tolist() for batch in reader] == [(indices**2).tolist() for indices in batches.indices()]
    assert torch.equal(torch.get_rng_state(), state)
