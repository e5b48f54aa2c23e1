# SPDX-License-Identifier: Apache-2.0
"""The momentum of Keras by hand calculation, through a change of the rate, and the skipping of steps under fp16."""

import pytest
import torch

from harness.optim.optimizers import LAMB, LARS, KerasSGD, set_learning_rate, torch_sgd

RATES = (0.1, 0.2, 0.2, 0.05)
GRADIENTS = (0.5, -0.25, 1.0, 2.0)


def trained(optimizer_type, *, rates=RATES, start=1.0, **options) -> list[float]:
    """The weight after each step, from one weight and GRADIENTS."""
    weight = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = optimizer_type([weight], lr=rates[0], momentum=0.9, **options)
    weights = []
    for rate, gradient in zip(rates, GRADIENTS, strict=True):
        weight.grad = torch.full_like(weight, gradient)
        set_learning_rate(optimizer, rate)
        optimizer.step()
        weights.append(weight.item())
    return weights


def test_the_velocity_holds_the_rate_of_each_gradient():
    # v1 = -0.1 x 0.5 = -0.05;                         w1 = 1 - 0.05 = 0.95
    # v2 = 0.9 x -0.05 + 0.2 x 0.25 = 0.005;           w2 = 0.955
    # v3 = 0.9 x 0.005 - 0.2 x 1 = -0.1955;            w3 = 0.7595
    # v4 = 0.9 x -0.1955 - 0.05 x 2 = -0.27595;        w4 = 0.48355
    assert trained(KerasSGD) == pytest.approx([0.95, 0.955, 0.7595, 0.48355], rel=1e-12)


def test_torchs_momentum_differs_once_the_rate_has_changed():
    keras, torchs = trained(KerasSGD), trained(torch.optim.SGD)
    assert torchs[0] == pytest.approx(keras[0])
    assert torchs[1] == pytest.approx(0.95 - 0.2 * (0.9 * 0.5 - 0.25))
    assert torchs[1] != pytest.approx(keras[1])
    constant = {"rates": (0.1,) * 4}
    assert trained(torch.optim.SGD, **constant) == pytest.approx(trained(KerasSGD, **constant))


def test_weight_decay_joins_the_gradient():
    weights = trained(KerasSGD, weight_decay=0.01)
    v1 = 0.1 * (0.5 + 0.01 * 1.0)
    assert weights[0] == pytest.approx(1 - v1)
    assert weights[1] == pytest.approx(weights[0] - (0.9 * v1 + 0.2 * (-0.25 + 0.01 * weights[0])))


def test_a_rate_on_the_device_gives_the_same_weights():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = KerasSGD([weight], lr=torch.tensor(0.1))
    for rate, gradient in zip(RATES, GRADIENTS, strict=True):
        weight.grad = torch.full_like(weight, gradient)
        set_learning_rate(optimizer, rate)
        optimizer.step()
    assert weight.item() == pytest.approx(0.48355, rel=1e-6)


def test_lars_keeps_the_same_momentum_for_vectors():
    assert trained(LARS) == pytest.approx(trained(KerasSGD))


OPTIMIZERS = {
    "keras": lambda weights: KerasSGD(weights, lr=torch.tensor(0.1), weight_decay=0.01),
    "lars": lambda weights: LARS(weights, lr=torch.tensor(0.1), weight_decay=0.01),
    "lamb": lambda weights: LAMB(weights, lr=torch.tensor(0.1), weight_decay=0.01),
    "lamb without decay": lambda weights: LAMB(weights, lr=torch.tensor(0.1)),
    "sgd": lambda weights: torch_sgd(weights, lr=torch.tensor(0.1), momentum=0.9),
    "adam": lambda weights: torch.optim.Adam(weights, lr=torch.tensor(0.1), fused=True),
}


def scaled_step(scaler, optimizer, weights, factor: float) -> None:
    optimizer.zero_grad()
    loss = sum((weight * factor).sum() for weight in weights)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_with_gradients_that_are_not_finite_changes_nothing_but_the_scale(name):
    """The skipped steps come first, as under fp16 they do, and between two others."""
    weights = [torch.nn.Parameter(torch.full((3, 2), 0.5)), torch.nn.Parameter(torch.ones(3))]
    expected = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    optimizer, plain = OPTIMIZERS[name](weights), OPTIMIZERS[name](expected)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for factor in (float("inf"), 0.5, float("nan"), 0.25):
        scaled_step(scaler, optimizer, weights, factor)
        if factor in (0.5, 0.25):
            plain.zero_grad()
            sum((weight * factor).sum() for weight in expected).backward()
            plain.step()
        for found, wanted in zip(weights, expected, strict=True):
            torch.testing.assert_close(found, wanted)
    assert scaler.get_scale() == 2.0
