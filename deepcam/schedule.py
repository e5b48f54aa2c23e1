# SPDX-License-Identifier: Apache-2.0
"""The learning rate of a step: that of the reference's scheduler, step by step.

    rate = learning_rate(0, Hyperparameters())          # 1.375e-5 in the first step of a warm-up of 400 steps to 0.0055

The reference's scheduler counts one step ahead, and its decays multiply the rate that the warm-up ended with. That rate
is one step short of the nominal peak, and public logs show it: 0.00548625 = 399/400 of 0.0055. Without warm-up, its
milestones count one step ahead, too, while its cosine does not.

Source: mlcommons/hpc, deepcam/src/deepCam/utils/schedulers.py and optimizer_helpers.py.
"""

import math
from bisect import bisect_right

from deepcam.config import Hyperparameters


def learning_rate(step: int, hyperparameters: Hyperparameters) -> float:
    """The rate of a step, counted from 0: warm-up, then milestones or a cosine."""
    if step + 1 < hyperparameters.scheduler_lr_warmup_steps:
        return _warmup_rate(step + 1, hyperparameters)
    if hyperparameters.scheduler_type == "multistep":
        return _multistep_rate(step, hyperparameters)
    return _cosine_rate(step, hyperparameters)


def _warmup_rate(count: int, hyperparameters: Hyperparameters) -> float:
    """The rate at a count of the reference's scheduler.

    The factor has two meanings: with 1 the rate rises from 0 to opt_lr, with any other number from opt_lr to that
    multiple of it.
    """
    start, factor = hyperparameters.opt_lr, hyperparameters.scheduler_lr_warmup_factor
    share = count / hyperparameters.scheduler_lr_warmup_steps
    return start * (share if factor == 1 else 1 + (factor - 1) * share)


def _plateau(hyperparameters: Hyperparameters) -> float:
    """The rate that the warm-up ends with; opt_lr without warm-up, whatever the warm-up factor."""
    warmup = hyperparameters.scheduler_lr_warmup_steps
    return _warmup_rate(warmup - 1, hyperparameters) if warmup > 1 else hyperparameters.opt_lr


def _multistep_rate(step: int, hyperparameters: Hyperparameters) -> float:
    """The plateau times the decay rate for each milestone passed."""
    warmup = hyperparameters.scheduler_lr_warmup_steps
    count = step - warmup if warmup else step + 1
    milestones, decay = hyperparameters.scheduler_milestones, hyperparameters.scheduler_decay_rate
    assert milestones is not None, "Hyperparameters has them with this schedule"
    assert decay is not None, "Hyperparameters has it with this schedule"
    return _plateau(hyperparameters) * decay ** bisect_right(milestones, count)


def _cosine_rate(step: int, hyperparameters: Hyperparameters) -> float:
    """A cosine from the plateau to the lowest rate at scheduler_t_max, which then rises again towards opt_lr."""
    warmup = hyperparameters.scheduler_lr_warmup_steps
    half_period, end = hyperparameters.scheduler_t_max, hyperparameters.scheduler_eta_min
    assert half_period is not None, "Hyperparameters has it with this schedule"
    assert end is not None, "Hyperparameters has it with this schedule"
    count = step + 1 - warmup if warmup else step
    peak = _plateau(hyperparameters) if count <= half_period else hyperparameters.opt_lr
    return end + (peak - end) * (1 + math.cos(math.pi * count / half_period)) / 2
