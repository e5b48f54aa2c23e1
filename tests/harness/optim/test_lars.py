# SPDX-License-Identifier: Apache-2.0
"""LARS against the published update rule, written out by hand."""

import pytest
import torch

from harness.optim.optimizers import LARS

MATRIX = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
GRADIENT = torch.tensor([[0.6, 0.0], [0.0, 0.8]])


def parameter(values: torch.Tensor, gradient: torch.Tensor) -> torch.nn.Parameter:
    made = torch.nn.Parameter(values.clone())
    made.grad = gradient.clone()
    return made


def test_one_step_by_hand():
    """|w| = 5, |g| = 1: the ratio is 0.01 * 5 / (1 + 0.1 * 5) = 1/30, the step 0.3 / 30 of g + 0.1 w."""
    weights = parameter(MATRIX, GRADIENT)
    LARS([weights], lr=0.3, momentum=0.9, weight_decay=0.1, trust=0.01, eps=0.0).step()
    expected = MATRIX - 0.3 / 30 * (GRADIENT + 0.1 * MATRIX)
    assert torch.allclose(weights, expected, atol=1e-6)


def test_many_steps_as_the_paper_writes_them():
    torch.manual_seed(0)
    start, gradients = torch.randn(3, 4, 2, 2).double(), torch.randn(5, 3, 4, 2, 2).double()
    weights = torch.nn.Parameter(start.clone())
    optimizer = LARS([weights], lr=0.5, momentum=0.8, weight_decay=0.01, trust=0.02, eps=1e-9)
    expected, velocity = start.clone(), torch.zeros_like(start)
    for step, gradient in enumerate(gradients):
        rate = 0.5 / (step + 1)
        optimizer.param_groups[0]["lr"] = rate
        weights.grad = gradient.clone()
        optimizer.step()
        local = 0.02 * expected.norm() / (gradient.norm() + 0.01 * expected.norm() + 1e-9)
        velocity = 0.8 * velocity + rate * local * (gradient + 0.01 * expected)
        expected = expected - velocity
    assert torch.allclose(weights.detach(), expected, atol=1e-12)


def test_vectors_take_the_plain_step():
    bias = parameter(torch.tensor([1.0, 2.0]), torch.tensor([0.5, -0.5]))
    reference = parameter(bias.detach(), bias.grad)
    LARS([bias], lr=0.1, momentum=0.9, weight_decay=0.01).step()
    torch.optim.SGD([reference], lr=0.1, momentum=0.9, weight_decay=0.01).step()
    assert torch.allclose(bias, reference)


def test_the_step_does_not_depend_on_the_gradients_scale():
    small, large = (parameter(MATRIX, GRADIENT * scale) for scale in (1e-3, 1e3))
    for weights in (small, large):
        LARS([weights], lr=0.3, trust=0.01).step()
    assert torch.allclose(small, large, atol=1e-5)


@pytest.mark.parametrize(("values", "gradient"), [(MATRIX * 0, GRADIENT), (MATRIX, GRADIENT * 0)])
def test_a_norm_of_zero_keeps_the_ratio_at_one(values, gradient):
    weights = parameter(values, gradient)
    LARS([weights], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weights, values - 0.1 * (gradient + 0.5 * values))


def test_the_rate_may_be_a_tensor_and_groups_have_their_own_decay():
    first, second = parameter(MATRIX, GRADIENT), parameter(MATRIX, GRADIENT)
    groups = [{"params": [first], "weight_decay": 0.1}, {"params": [second], "weight_decay": 0.0}]
    LARS(groups, lr=torch.tensor(0.3), trust=0.01, eps=0.0).step()
    assert torch.allclose(first, MATRIX - 0.3 / 30 * (GRADIENT + 0.1 * MATRIX), atol=1e-6)
    assert torch.allclose(second, MATRIX - 0.3 * 0.05 * GRADIENT, atol=1e-6)


def test_parameters_without_gradient_stay():
    weights, idle = parameter(MATRIX, GRADIENT), torch.nn.Parameter(MATRIX.clone())
    optimizer = LARS([weights, idle], lr=0.3)
    optimizer.step()
    assert torch.equal(idle, MATRIX)
    assert not torch.equal(weights, MATRIX)


def test_a_restart_goes_on_with_its_velocity():
    whole, halves = parameter(MATRIX, GRADIENT), parameter(MATRIX, GRADIENT)
    optimizer = LARS([whole], lr=0.3)
    first = LARS([halves], lr=0.3)
    optimizer.step()
    first.step()
    second = LARS([halves], lr=0.3)
    second.load_state_dict(first.state_dict())
    optimizer.step()
    second.step()
    assert torch.equal(whole, halves)
