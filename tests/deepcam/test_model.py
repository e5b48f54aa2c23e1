# SPDX-License-Identifier: Apache-2.0
"""The network is the reference's: its counts, its shapes stage by stage, its arithmetic."""

import pytest
import torch
from torch import nn

from deepcam.model import DeepCAM, InputSizeError, Pyramid, SeparableConv2d
from harness.flops import forward_flops, training_flops

GIGA = 1e9


@pytest.fixture(scope="module")
def reference() -> DeepCAM:
    with torch.device("meta"):
        return DeepCAM()


def test_the_parameters_are_those_of_the_reference(reference):
    assert sum(parameter.numel() for parameter in reference.parameters()) == 56_454_720
    assert len(list(reference.parameters())) == 301


def test_the_layers_are_those_of_the_reference(reference):
    convolutions = [layer for layer in reference.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 146
    assert sum(layer.groups == layer.in_channels for layer in convolutions) == 63
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in reference.modules()) == 76
    biases = [name for name, _ in reference.named_parameters() if name.endswith("bias")]
    assert len(biases) == 76 + 2  # batch norms, the affine of the pooled branch, the 1 x 1 of the decoder


def test_no_batch_norm_between_depthwise_and_pointwise(reference):
    separable = [layer for layer in reference.modules() if isinstance(layer, SeparableConv2d)]
    assert len(separable) == 63
    assert all([type(part) for part in layer] == [nn.Conv2d, nn.Conv2d] for layer in separable)


STAGES = {
    "encoder.stem": (64, 2),
    "encoder.shallow": (128, 4),
    "encoder.deep.0": (256, 8),
    "encoder.deep": (728, 16),
    "encoder.middle": (728, 16),
    "encoder.exit.0": (1024, 16),
    "encoder.exit": (2048, 16),
    "pyramid.branches.0": (256, 16),
    "pyramid.branches.3": (256, 16),
    "pyramid": (256, 16),
    "skip": (48, 4),
    "decoder.rise": (256, 4),
    "decoder.join": (256, 4),
    "decoder": (3, 1),
}


@pytest.mark.parametrize(("height", "width"), [(768, 1152), (96, 144), (16, 48)])
def test_every_stage_has_its_channels_and_stride(reference, height, width):
    found = {}
    handles = [
        reference.get_submodule(name).register_forward_hook(
            lambda _layer, _inputs, output, name=name: found.update({name: tuple(output.shape)})
        )
        for name in STAGES
    ]
    reference(torch.empty(2, 16, height, width, device="meta"))
    for handle in handles:
        handle.remove()
    assert found == {
        name: (2, channels, height // stride, width // stride) for name, (channels, stride) in STAGES.items()
    }


def test_the_pooled_branch_sees_the_whole_field_and_is_one_pixel(reference):
    assert reference.pyramid.pooled(torch.empty(1, 2048, 5, 9, device="meta")).shape == (1, 256, 1, 1)


@pytest.mark.parametrize(("height", "width"), [(100, 144), (96, 150), (0, 16)])
def test_other_sizes_are_refused_with_the_nearest_that_serves(reference, height, width):
    with pytest.raises(InputSizeError, match=rf"{height} x {width} pixels.*multiples of 16, such as \d+ x \d+"):
        reference(torch.empty(1, 16, height, width, device="meta"))


def test_a_sample_costs_655_gigaflop_forward(reference):
    fields = torch.empty(1, 16, 768, 1152, device="meta")
    assert forward_flops(reference, fields) == pytest.approx(655 * GIGA, rel=1e-3)
    assert forward_flops(reference.encoder, fields) == pytest.approx(312 * GIGA, rel=2e-3)


def test_training_costs_nearly_three_times_the_forward_pass(reference):
    fields = torch.empty(1, 16, 96, 144, device="meta")
    ratio = training_flops(reference, fields) / forward_flops(reference, fields)
    assert 2.9 < ratio <= 3.0  # the input of the first layer needs no gradient


def test_the_pooled_branch_as_a_broadcast_equals_the_tiled_concatenation():
    torch.manual_seed(0)
    pyramid = Pyramid(24, 8).double().eval()
    features = torch.randn(2, 24, 6, 9, dtype=torch.float64)
    tiles = pyramid.pooled(features).expand(2, 8, 6, 9)
    joined = torch.cat([*(branch(features) for branch in pyramid.branches), tiles], dim=1)
    torch.testing.assert_close(pyramid(features), pyramid.head(pyramid.projection(joined)))


def test_both_forms_of_the_pooled_branch_have_the_same_gradients():
    torch.manual_seed(0)
    pyramid = Pyramid(24, 8).double().train()
    features = torch.randn(2, 24, 6, 9, dtype=torch.float64)
    pyramid(features).square().sum().backward()
    found = [parameter.grad.clone() for parameter in pyramid.parameters()]
    pyramid.zero_grad()
    tiles = pyramid.pooled(features).expand(2, 8, 6, 9)
    joined = torch.cat([*(branch(features) for branch in pyramid.branches), tiles], dim=1)
    pyramid.head(pyramid.projection(joined)).square().sum().backward()
    for gradient, parameter in zip(found, pyramid.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


@pytest.fixture(scope="module")
def trained_size() -> DeepCAM:
    torch.manual_seed(1)
    return DeepCAM()


def test_the_skip_is_taken_after_the_activation(trained_size):
    with torch.no_grad():
        _, shallow = trained_size.encoder(torch.randn(2, 16, 32, 32))
    assert shallow.min() == 0.0
    assert shallow.max() > 0.0


def test_channels_last_gives_the_same_logits(trained_size):
    fields = torch.rand(1, 16, 32, 48)
    model = trained_size.eval()
    with torch.no_grad():
        plain = model(fields)
        last = model.to(memory_format=torch.channels_last)(fields.contiguous(memory_format=torch.channels_last))
    assert plain.abs().max() > 0
    torch.testing.assert_close(last, plain, atol=1e-4 * float(plain.abs().max()), rtol=1e-3)


def test_the_encoder_starts_from_kaiming_normal_and_the_decoder_from_the_default(trained_size):
    middle = trained_size.encoder.middle[0].body[0][1].weight.detach()  # 728 -> 728, 1 x 1
    assert float(middle.std()) == pytest.approx((2 / 728) ** 0.5, rel=0.02)
    decoder = trained_size.decoder.join[3].weight.detach()  # 256 -> 256, 3 x 3: uniform within 1 / sqrt(fan in)
    assert float(decoder.abs().max()) <= (1 / (256 * 9)) ** 0.5
