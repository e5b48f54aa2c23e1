# SPDX-License-Identifier: Apache-2.0
"""Every trained parameter is in one group, with the weight decay that it should have."""

import torch
from torch import nn

from harness.optim.optimizers import set_learning_rate
from harness.optim.parameter_groups import all_but_norms, decay_groups


def small_model() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)).double()


def test_two_sgd_steps_against_hand_calculation():
    """With momentum m, decay d, rate r: v = g1 + d w0, w1 = w0 - r1 v; v' = m v + g2 + d w1, w2 = w1 - r2 v'."""
    model = small_model()
    decayed = model[0].weight
    w0, b0 = decayed.detach().clone(), model[0].bias.detach().clone()
    optimizer = torch.optim.SGD(decay_groups(model, [decayed], 0.04), lr=1.0, momentum=0.9)
    gradients = [torch.full_like(w0, 0.5), torch.full_like(w0, -0.25)]
    for rate, gradient in zip((0.1, 0.2), gradients, strict=True):
        decayed.grad, model[0].bias.grad = gradient, gradient[:, 0].clone()
        set_learning_rate(optimizer, rate)
        optimizer.step()
    v1 = gradients[0] + 0.04 * w0
    w1 = w0 - 0.1 * v1
    w2 = w1 - 0.2 * (0.9 * v1 + gradients[1] + 0.04 * w1)
    torch.testing.assert_close(decayed.detach(), w2)
    torch.testing.assert_close(model[0].bias.detach(), b0 - 0.1 * 0.5 - 0.2 * (0.9 * 0.5 - 0.25))


def test_keras_l2_is_twice_torchs_weight_decay():
    rows, l2 = torch.rand(5, 3, dtype=torch.float64), 0.01
    by_loss, by_decay = small_model(), small_model()
    loss = by_loss(rows).square().mean() + l2 * by_loss[0].weight.square().sum()
    loss.backward()
    torch.optim.SGD(by_loss.parameters(), lr=0.1, momentum=0.9).step()
    by_decay(rows).square().mean().backward()
    torch.optim.SGD(decay_groups(by_decay, [by_decay[0].weight], 2 * l2), lr=0.1, momentum=0.9).step()
    for expected, found in zip(by_loss.parameters(), by_decay.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_groups_hold_every_parameter_once():
    model = small_model()
    groups = decay_groups(model, [model[1].weight], 0.5)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


def test_a_group_without_parameters_is_left_out_and_so_are_parameters_that_are_not_trained():
    model = small_model()
    model[1].requires_grad_(False)
    (group,) = decay_groups(model, model.parameters(), 0.5)
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in model[0].parameters()]


def test_norms_are_batch_and_group_norms():
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Linear(4, 1))
    expected = [*model[0].parameters(), *model[3].parameters()]
    assert [id(parameter) for parameter in all_but_norms(model)] == [id(parameter) for parameter in expected]
