# SPDX-License-Identifier: Apache-2.0
"""Whole curves of the learning rate: against the reference's recurrence, PyTorch's schedulers and public logs."""

import math
from itertools import product
from pathlib import Path

import pytest
import torch

from compliance import mllog
from deepcam.config import Hyperparameters
from deepcam.schedule import learning_rate

NUM_STEPS = 60


def curve(hyperparameters: Hyperparameters, num_steps: int = NUM_STEPS) -> list[float]:
    return [learning_rate(step, hyperparameters) for step in range(num_steps)]


def recurrence(*, start, warmup, factor, milestones=(), decay=1.0, half_period=None, end=0.0) -> list[float]:
    """The reference's warm-up schedulers as they compute: each rate from the one before it."""
    rate, rates = start, []
    for count in range(1, NUM_STEPS + 1):
        if count < warmup:
            rate = start * count / warmup if factor == 1 else start * ((factor - 1) * count / warmup + 1)
        elif half_period is None:
            rate *= decay ** sum(count == milestone + warmup + 1 for milestone in milestones)
        elif count > warmup:
            now, before = (1 + math.cos(math.pi * (count - warmup - back) / half_period) for back in (0, 1))
            if (count - warmup - 1 - half_period) % (2 * half_period) == 0:
                rate += (start - end) * (1 - math.cos(math.pi / half_period)) / 2
            else:
                rate = now / before * (rate - end) + end
        rates.append(rate)
    return rates


@pytest.mark.parametrize(("warmup", "factor"), list(product([1, 2, 7, 20], [1.0, 3.0])))
def test_milestones_after_a_warm_up_are_the_references_recurrence(warmup, factor):
    found = curve(
        Hyperparameters(
            opt_lr=0.5,
            scheduler_milestones=(3, 10, 10, 25),
            scheduler_decay_rate=0.5,
            scheduler_lr_warmup_steps=warmup,
            scheduler_lr_warmup_factor=factor,
        )
    )
    expected = recurrence(start=0.5, warmup=warmup, factor=factor, milestones=(3, 10, 10, 25), decay=0.5)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("warmup", "factor"), list(product([1, 7, 20], [1.0, 3.0])))
def test_a_cosine_after_a_warm_up_is_the_references_recurrence(warmup, factor):
    found = curve(
        Hyperparameters(
            opt_lr=0.5,
            scheduler_type="cosine_annealing",
            scheduler_t_max=15,
            scheduler_eta_min=0.01,
            scheduler_lr_warmup_steps=warmup,
            scheduler_lr_warmup_factor=factor,
        )
    )
    expected = recurrence(start=0.5, warmup=warmup, factor=factor, half_period=15, end=0.01)
    assert found == pytest.approx(expected, rel=1e-9)


def torchs_curve(scheduler_type, **options) -> list[float]:
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5, "initial_lr": 0.5}])
    scheduler, rates = scheduler_type(optimizer, **options), []
    for _ in range(NUM_STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_without_warm_up_milestones_are_those_of_torchs_scheduler_one_step_ahead():
    reference = Hyperparameters(
        opt_lr=0.5, scheduler_milestones=(3, 10), scheduler_decay_rate=0.1, scheduler_lr_warmup_steps=0
    )
    expected = torchs_curve(torch.optim.lr_scheduler.MultiStepLR, milestones=[3, 10], gamma=0.1, last_epoch=0)
    assert curve(reference) == pytest.approx(expected, rel=1e-12)
    assert curve(reference, 4) == pytest.approx([0.5, 0.5, 0.05, 0.05])


def test_without_warm_up_the_cosine_is_that_of_torchs_scheduler():
    reference = Hyperparameters(
        opt_lr=0.5, scheduler_type="cosine_annealing", scheduler_t_max=15, scheduler_lr_warmup_steps=0
    )
    expected = torchs_curve(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=15)
    assert curve(reference) == pytest.approx(expected, abs=1e-12)


def test_the_reference_at_2048():
    rates = {step: learning_rate(step, Hyperparameters()) for step in (0, 398, 399, 1199, 1200)}
    assert rates == pytest.approx(
        {0: 1.375e-5, 398: 0.00548625, 399: 0.00548625, 1199: 0.00548625, 1200: 0.000548625}, rel=1e-12
    )


def test_the_rates_that_a_public_entry_logged(published_results: Path):
    log = mllog.read(published_results / "hpc_results_v2.0/tacc/results/longhorn-pytorch/strong/deepcam/result_4.txt")
    hyperparameters = Hyperparameters(
        opt_lr=log.value("opt_lr"),
        scheduler_milestones=tuple(log.value("scheduler_milestones")),
        scheduler_decay_rate=log.value("scheduler_decay_rate"),
        scheduler_lr_warmup_steps=log.value("scheduler_lr_warmup_steps"),
    )
    logged = {event.metadata.step_num: event.value for event in log.all("learning_rate")}
    assert len(logged) > 100
    assert {step: learning_rate(step - 1, hyperparameters) for step in logged} == pytest.approx(logged, rel=1e-9)
