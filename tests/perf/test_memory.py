# SPDX-License-Identifier: Apache-2.0
"""Computed memory of a step against a hand count."""

from dataclasses import replace

import torch
from torch import nn

from characterize.measure import benchmarks
from perf import memory

RESNET = benchmarks.named(["imagenet_resnet"])[0]


def toy(**changes):
    """A convolution of 3 to 8 channels and a ReLU on 16 x 16 pixels."""
    return replace(
        RESNET,
        reference_size=(16, 16),
        make_model=lambda size: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU()),
        make_batch=lambda num_samples, size: (torch.rand(num_samples, 3, *size),),
        **changes,
    )


def test_input_and_activation_are_kept_and_weights_are_not():
    assert memory.saved_bytes(toy(), 2, "fp32") == 2 * (3 + 8) * 16 * 16 * 4


def test_parameters_have_gradients_and_the_optimizer_s_state():
    assert memory.parameter_bytes(toy()) == 3 * 8 * 9 * 4 * 3
    assert memory.parameter_bytes(toy(name="deepcam")) == 3 * 8 * 9 * 4 * 4


def test_a_sample_of_resnet_needs_half_as_much_in_bf16():
    fp32, bf16 = (memory.sample_bytes(RESNET, precision) for precision in ("fp32", "bf16"))
    assert 0.45 < bf16 / fp32 < 0.6
