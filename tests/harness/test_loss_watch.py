# SPDX-License-Identifier: Apache-2.0
"""All ranks end in the same step with the same error, whichever of them has the loss that is not finite."""

import math

import pytest
import torch

from harness.loss_watch import STEPS_BETWEEN_CHECKS, LossWatch, NonFiniteLossError
from tests.harness.ranks import spawn


def watch_a_bad_loss_of_rank_1(world):
    watch, done = LossWatch(world, num_allowed=0), []
    watch.begin(3)
    with pytest.raises(NonFiniteLossError, match="epoch 3, step 7: the loss is NaN or infinite on 1 of 2 ranks"):
        add_losses(watch, world.rank, done)
    assert len(done) == STEPS_BETWEEN_CHECKS - 1  # on both ranks


def add_losses(watch, rank, done):
    for step in range(1, 2 * STEPS_BETWEEN_CHECKS):
        watch.add(torch.tensor(math.inf if (step, rank) == (7, 1) else 0.5))
        done.append(step)


def test_a_loss_of_one_rank_ends_all_ranks(tmp_path):
    spawn(watch_a_bad_loss_of_rank_1, 2, tmp_path)
