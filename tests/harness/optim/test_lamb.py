# SPDX-License-Identifier: Apache-2.0
"""LAMB against hand calculation; Adam and AdamW as DeepCAM configures them."""

import copy
import math

import pytest
import torch

from harness.optim.optimizers import LAMB, set_learning_rate

WEIGHTS = [torch.tensor([3.0, 4.0]), torch.tensor([[0.5]])]
GRADIENTS = [torch.tensor([6.0, 8.0]), torch.tensor([[0.0]])]
RATE, EPS, DECAY = 0.1, 1e-6, 0.01


def parameters(gradients: list[torch.Tensor] = GRADIENTS) -> list[torch.nn.Parameter]:
    made = [torch.nn.Parameter(weight.double().clone()) for weight in WEIGHTS]
    for parameter, gradient in zip(made, gradients, strict=True):
        parameter.grad = gradient.double().clone()
    return made


def by_hand(weights: list, gradient_history: list[list], *, averaging=True, correction=True, decay=DECAY, limit=1.0):
    """LAMB in plain Python: every tensor a flat list of numbers."""
    means, squares = ([[0.0] * len(weight) for weight in weights] for _ in range(2))
    for step, gradients in enumerate(gradient_history, start=1):
        norm = math.sqrt(sum(value**2 for gradient in gradients for value in gradient))
        shrink = min(1.0, limit / norm) if norm else 1.0
        for layer, gradient in enumerate(gradients):
            update = []
            for place, value in enumerate(gradient):
                value *= shrink
                means[layer][place] = 0.9 * means[layer][place] + (0.1 if averaging else 1.0) * value
                squares[layer][place] = 0.999 * squares[layer][place] + 0.001 * value**2
                mean = means[layer][place] / (1 - 0.9**step if correction else 1)
                square = squares[layer][place] / (1 - 0.999**step if correction else 1)
                update.append(mean / (math.sqrt(square) + EPS) + decay * weights[layer][place])
            weight_norm, update_norm = math.hypot(*weights[layer]), math.hypot(*update)
            ratio = weight_norm / update_norm if decay and weight_norm and update_norm else 1.0
            weights[layer] = [w - RATE * ratio * u for w, u in zip(weights[layer], update, strict=True)]
    return weights


def flat(tensors) -> list[list[float]]:
    return [tensor.detach().double().flatten().tolist() for tensor in tensors]


def test_one_step_worked_on_paper():
    # |gradients| = 10, so they shrink to (0.6, 0.8), 0. The first step, corrected: (1, 1) + 0.01 (3, 4), and 0.005.
    # |weights| = 5, |update| = |(1.03, 1.04)|: both move by 0.1 x 5 / 1.46373 x update; the third by 0.1 x 0.5.
    layers = parameters()
    LAMB(layers, lr=RATE, eps=EPS, weight_decay=DECAY).step()
    scale = RATE * 5 / math.hypot(1.03, 1.04)
    assert flat(layers)[0] == pytest.approx([3 - scale * 1.03, 4 - scale * 1.04], rel=1e-5)
    assert flat(layers)[1] == pytest.approx([0.5 - RATE * 0.5])


@pytest.mark.parametrize(
    "options",
    [{}, {"grad_averaging": False}, {"bias_correction": False}, {"weight_decay": 0.0}, {"max_grad_norm": 100.0}],
)
def test_three_steps_against_plain_python(options):
    layers = parameters()
    optimizer = LAMB(layers, lr=RATE, **{"eps": EPS, "weight_decay": DECAY, **options})
    history = []
    for step in range(3):
        for layer, gradient in zip(layers, GRADIENTS, strict=True):
            layer.grad = (gradient * (1 - 0.7 * step) + 0.01).double()
        history.append(flat(layer.grad for layer in layers))
        optimizer.step()
    expected = by_hand(
        flat(WEIGHTS),
        history,
        averaging=options.get("grad_averaging", True),
        correction=options.get("bias_correction", True),
        decay=options.get("weight_decay", DECAY),
        limit=options.get("max_grad_norm", 1.0),
    )
    for found, wanted in zip(flat(layers), expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-7)


def test_gradients_below_the_limit_are_left_alone():
    layers = parameters([torch.tensor([0.3, 0.4]), torch.tensor([[0.0]])])
    LAMB(layers, lr=RATE).step()
    assert flat(layer.grad for layer in layers)[0] == pytest.approx([0.3, 0.4])


def test_gradients_of_zero_leave_finite_weights():
    layers = parameters([torch.zeros(2), torch.zeros(1, 1)])
    LAMB(layers, lr=RATE, weight_decay=DECAY).step()
    assert all(torch.isfinite(layer).all() for layer in layers)


def test_parameters_without_a_gradient_stay():
    layers = parameters()
    layers[1].grad = None
    LAMB(layers, lr=RATE, weight_decay=DECAY).step()
    assert flat(layers)[1] == [0.5]
    assert flat(layers)[0] != [3.0, 4.0]


def test_a_restart_goes_on_as_if_there_had_been_none():
    def step(layers, optimizer):
        for layer, gradient in zip(layers, GRADIENTS, strict=True):
            layer.grad = gradient.double().clone()
        optimizer.step()

    straight = parameters()
    optimizer = LAMB(straight, lr=RATE, weight_decay=DECAY)
    step(straight, optimizer)
    resumed = copy.deepcopy(straight)
    restored = LAMB(resumed, lr=RATE, weight_decay=DECAY)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(straight, optimizer)
    step(resumed, restored)
    assert flat(straight) == flat(resumed)


def test_a_rate_in_a_tensor_is_changed_in_place_for_cuda_graphs():
    rate = torch.tensor(1.0, dtype=torch.float64)
    layers, plain = parameters(), parameters()
    optimizer = LAMB(layers, lr=rate, weight_decay=DECAY)
    set_learning_rate(optimizer, RATE)
    assert optimizer.param_groups[0]["lr"] is rate
    optimizer.step()
    LAMB(plain, lr=RATE, weight_decay=DECAY).step()
    for found, wanted in zip(flat(layers), flat(plain), strict=True):
        assert found == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_adam_as_deepcam_configures_it_by_hand(name):
    layers = parameters()
    getattr(torch.optim, name)(layers, lr=RATE, betas=(0.9, 0.999), eps=EPS, weight_decay=DECAY).step()
    for weight, gradient, found in zip(flat(WEIGHTS), flat(GRADIENTS), flat(layers), strict=True):
        for w, g, result in zip(weight, gradient, found, strict=True):
            if name == "Adam":  # decay joins the gradient; the first corrected update is its sign
                joint = g + DECAY * w
                expected = w - RATE * joint / (abs(joint) + EPS)
            else:
                expected = w * (1 - RATE * DECAY) - RATE * g / (abs(g) + EPS)
            assert result == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize("betas", [(0.0, 0.999), (0.9, 0.0), (0.0, 0.0)])
def test_betas_of_zero_keep_nothing_of_earlier_gradients(betas, bias_correction):
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = LAMB([weight], lr=0.1, betas=betas, weight_decay=0.0, bias_correction=bias_correction, eps=0.0)
    for _ in range(3):
        weight.grad = torch.tensor([0.6, 0.8])
        optimizer.step()
    assert torch.isfinite(weight).all()
    if bias_correction:  # both moments are exact then: every update is the gradient's sign
        assert weight.tolist() == pytest.approx([2.7, 3.7], rel=1e-5)
