# SPDX-License-Identifier: Apache-2.0
"""The counter against formulae written out by hand: 2 for every multiply-add."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from cosmoflow.model import CosmoFlow
from harness.flops import forward_flops, training_flops


def on_meta(build, *shape):
    with torch.device("meta"):
        return build(), torch.empty(*shape)


def cosmoflow_forward_flops(input_size: int) -> list[int]:
    """Layer by layer: 2 x 27 x inputs x outputs x voxels, and 2 x inputs x outputs of the dense layers."""
    channels = [4, 32, 64, 128, 256, 512]
    convolutions = [
        2 * 27 * c_in * c_out * (input_size // 2**depth) ** 3 for depth, (c_in, c_out) in enumerate(pairwise(channels))
    ]
    features = 512 * (input_size // 32) ** 3
    return [*convolutions, 2 * features * 128, 2 * 128 * 64, 2 * 64 * 4]


@pytest.mark.parametrize("input_size", [32, 128])
def test_cosmoflow_forward(input_size):
    model, volume = on_meta(lambda: CosmoFlow(input_size=input_size), 1, 4, input_size, input_size, input_size)
    assert forward_flops(model, volume) == sum(cosmoflow_forward_flops(input_size))


def test_cosmoflow_training_takes_three_times_the_forward_but_no_gradient_of_the_input():
    layers = cosmoflow_forward_flops(128)
    model, volume = on_meta(CosmoFlow, 1, 4, 128, 128, 128)
    found = training_flops(model, volume)
    assert found == 3 * sum(layers) - layers[0]
    assert found == pytest.approx(192.1e9, rel=5e-4)
    assert sum(layers) == pytest.approx(68.9e9, rel=1e-3)


def test_flops_grow_with_the_batch():
    one = training_flops(*on_meta(lambda: CosmoFlow(input_size=32), 1, 4, 32, 32, 32))
    three = training_flops(*on_meta(lambda: CosmoFlow(input_size=32), 3, 4, 32, 32, 32))
    assert three == 3 * one


def depthwise() -> nn.Module:
    return nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)


def test_depthwise_convolution():
    model, image = on_meta(depthwise, 1, 16, 16, 16)
    image.requires_grad_()
    assert forward_flops(model, image) == 73_728
    assert training_flops(model, image) == 221_184


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_convolution(groups):
    model, image = on_meta(lambda: nn.Conv2d(8, 12, 3, padding=1, groups=groups, stride=2), 2, 8, 16, 16)
    image.requires_grad_()
    one_pass = 2 * 12 * (8 // groups) * 9 * (2 * 8 * 8)
    assert training_flops(model, image) == 3 * one_pass


def test_transposed_convolution():
    model, image = on_meta(lambda: nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2), 2, 8, 5, 5)
    image.requires_grad_()
    one_pass = 2 * 8 * (6 // 2) * 4 * (2 * 5 * 5)
    assert training_flops(model, image) == 3 * one_pass


def test_counting_leaves_no_gradient_behind():
    model, rows = on_meta(lambda: nn.Linear(3, 2), 5, 3)
    assert training_flops(model, rows) == 2 * (2 * 3 * 2 * 5)
    assert all(parameter.grad is None for parameter in model.parameters())
