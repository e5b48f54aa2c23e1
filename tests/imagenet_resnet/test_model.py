# SPDX-License-Identifier: Apache-2.0
"""The network is ResNet-50 v1.5, counted and computed independently."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness.flops import training_flops
from imagenet_resnet.model import DEVIATION_C, MEAN_C, Bottleneck, ResNet50, normalised


def parameters_by_hand(blocks, width, num_classes) -> int:
    """Weights of convolutions, two numbers a channel of batch norms, and the dense layer."""
    total, inputs = 3 * width * 49 + 2 * width, width
    for stage, num_blocks in enumerate(blocks):
        inner = width * 2**stage
        for block in range(num_blocks):
            total += inputs * inner + 9 * inner**2 + inner * 4 * inner + 2 * (inner + inner + 4 * inner)
            total += (inputs * 4 * inner + 2 * 4 * inner) * (block == 0)
            inputs = 4 * inner
    return total + inputs * num_classes + num_classes


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_default_is_resnet50():
    with torch.device("meta"):
        model, image_NCHW = ResNet50(), torch.empty(1, 3, 224, 224)
        assert model(image_NCHW).shape == (1, 1000)
    assert count(model) == 25_557_032 == parameters_by_hand((3, 4, 6, 3), 64, 1000)
    assert training_flops(model, image_NCHW) == pytest.approx(24.3e9, rel=1e-3)


def test_a_smaller_network_of_the_family():
    with torch.device("meta"):
        model = ResNet50(num_classes=8, blocks=(1, 2), width=16)
    assert count(model) == parameters_by_hand((1, 2), 16, 8)


def test_the_3x3_convolution_halves_the_sides_as_in_version_1_5():
    with torch.device("meta"):
        model = ResNet50()
    strides = [layer.stride[0] for layer in model.stages[1][0].residual if isinstance(layer, nn.Conv2d)]
    assert strides == [1, 2, 1]


def test_bottleneck_computes_what_the_paper_draws():
    torch.manual_seed(0)
    block = Bottleneck(8, 4, stride=2).eval()
    features = torch.randn(2, 8, 6, 6)
    first, second, third = (layer.weight for layer in block.residual if isinstance(layer, nn.Conv2d))
    scale = 1 / (1 + 1e-5) ** 0.5  # a fresh batch norm in evaluation
    inner = (F.conv2d(features, first) * scale).relu()
    inner = (F.conv2d(inner, second, stride=2, padding=1) * scale).relu()
    shortcut = F.conv2d(features, block.shortcut[0].weight, stride=2) * scale
    expected = (F.conv2d(inner, third) * scale + shortcut).relu()
    assert torch.allclose(block(features), expected, atol=1e-5)


def test_with_zero_gamma_a_bottleneck_begins_as_its_shortcut():
    torch.manual_seed(0)
    features = torch.rand(2, 16, 5, 5)
    for zero, same in ((True, True), (False, False)):
        block = ResNet50(blocks=(2,), width=4, zero_init_last_gamma=zero).stages[0][1]
        assert torch.equal(block(features.clone()), features) == same


def test_the_initial_state_is_the_public_recipes():
    torch.manual_seed(0)
    model = ResNet50(blocks=(1,), width=16)
    assert all((norm.weight == 1).all() for norm in model.modules() if isinstance(norm, nn.BatchNorm2d))
    assert model.classify.weight.std().item() == pytest.approx((2 / 1001) ** 0.5, rel=0.02)
    assert (model.classify.bias == 0).all()


def test_batch_norm_settings_reach_every_layer():
    model = ResNet50(blocks=(1,), width=4, batch_norm_decay=0.8, batch_norm_epsilon=1e-3)
    norms = [norm for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)]
    assert len(norms) == 5
    assert all(norm.momentum == pytest.approx(0.2) and norm.eps == 1e-3 for norm in norms)


def test_normalised_pictures():
    image_NCHW = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    expected = (image_NCHW.numpy() - torch.tensor(MEAN_C).view(3, 1, 1).numpy()) / torch.tensor(DEVIATION_C).view(
        3, 1, 1
    ).numpy()
    assert torch.allclose(normalised(image_NCHW), torch.from_numpy(expected).float(), atol=1e-5)
