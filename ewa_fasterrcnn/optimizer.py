# SPDX-License-Identifier: Apache-2.0
"""Optimizer, learning-rate policy and clipping of gradients, from the hyperparameters."""

import math

from torch import nn
from torch.optim import SGD, Optimizer

from ewa_fasterrcnn.config import Hyperparameters
from harness import optim

TRUST = 0.001
"""LARS' coefficient: the published one."""
LAMB_SECOND_DECAY = 0.999


def build_optimizer(network: nn.Module, hyperparameters: Hyperparameters) -> Optimizer:
    """SGD, LARS or LAMB, with weight decay on all parameters, or on all but those of norms."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    free = [] if hyperparameters.opt_weight_decay_on_batch_norm else norm_parameters(network)
    free_ids = {id(parameter) for parameter in free}
    decay, rate, momentum = (
        hyperparameters.opt_weight_decay,
        hyperparameters.opt_base_learning_rate,
        hyperparameters.opt_momentum,
    )
    groups = [{"params": [p for p in parameters if id(p) not in free_ids], "weight_decay": decay}]
    if free:
        groups.append({"params": free, "weight_decay": 0.0})
    if hyperparameters.opt_name == "lars":
        return optim.LARS(groups, lr=rate, momentum=momentum, trust=TRUST)
    if hyperparameters.opt_name == "lamb":
        return optim.LAMB(groups, lr=rate, betas=(momentum, LAMB_SECOND_DECAY))
    return SGD(groups, lr=rate, momentum=momentum)


def norm_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Scales and shifts of the norms that are trained."""
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm | nn.BatchNorm2d)]
    return [parameter for norm in norms for parameter in norm.parameters() if parameter.requires_grad]


def learning_rate(time_epochs: float, num_epochs: int, hyperparameters: Hyperparameters) -> float:
    """The rate at a time in epochs from 0: a linear rise from 0, then steps or a cosine down to 0.

    A step takes the rate at its middle, so that neither the first nor the last one is lost to a rate of 0.
    """
    peak, warmup = hyperparameters.opt_base_learning_rate, hyperparameters.opt_learning_rate_warmup_epochs
    if hyperparameters.opt_learning_rate_schedule == "step":
        boundaries = hyperparameters.opt_learning_rate_decay_boundary_epochs
        factor = hyperparameters.opt_learning_rate_decay_factor
        rate = optim.step_decay(time_epochs, peak=peak, boundaries=boundaries, factors=factor)
    else:
        rate = optim.cosine_decay(time_epochs, peak=peak, start=warmup, stop=num_epochs)
    return optim.linear_warmup(time_epochs, rate, peak=peak, warmup=warmup, warmup_factor=math.inf)


def clip_gradients(network: nn.Module, largest_norm: float | None) -> None:
    """Scale all gradients down together where their norm is larger; they are the same on all ranks by now."""
    if largest_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), largest_norm)
