# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from cosmoflow.model import CosmoFlow, log_counts


def build(**arguments) -> CosmoFlow:
    torch.manual_seed(1)
    return CosmoFlow(**{"input_size": 32, "dropout": 0.0, **arguments})


def universe(num_samples: int = 2, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.poisson(torch.ones(num_samples, 4, size, size, size), generator).short()


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("kernel_size", "expected"), [(3, 8_907_556), (2, 5_597_604)])
def test_parameter_count_of_the_published_networks(kernel_size, expected):
    with torch.device("meta"):
        assert num_parameters(CosmoFlow(kernel_size=kernel_size)) == expected


@pytest.mark.parametrize("input_size", [32, 64, 128])
def test_shape_of_the_output_at_every_input_size(input_size):
    with torch.device("meta"):
        model = CosmoFlow(input_size=input_size)
        assert model(torch.empty(3, 4, input_size, input_size, input_size)).shape == (3, 4)


@pytest.mark.parametrize("input_size", [0, 48, 127])
def test_an_input_size_that_cannot_be_halved_five_times_is_refused(input_size):
    with pytest.raises(ValueError, match="multiple of 32"):
        CosmoFlow(input_size=input_size)


def test_log_counts_is_computed_in_fp32():
    counts = torch.tensor([0, 1, 300, 301], dtype=torch.int16)
    with torch.autocast("cpu", torch.bfloat16):
        found = log_counts(counts)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([0.0, 0.6931472, 5.7071103, 5.7104270]))


def test_forward_equals_the_layers_written_out():
    model = build()
    features = log_counts(universe())
    for block in model.blocks:
        convolution = block[0]
        padded = nn.functional.pad(features, (1, 1, 1, 1, 1, 1))
        features = nn.functional.conv3d(padded, convolution.weight, convolution.bias)
        features = torch.where(features > 0, features, 0.3 * features)
        n, c, d, h, w = features.shape
        features = features.reshape(n, c, d // 2, 2, h // 2, 2, w // 2, 2).amax((3, 5, 7))
    features = features.reshape(len(features), -1)
    for dense in (model.hidden1, model.hidden2):
        features = features @ dense.weight.T + dense.bias
        features = torch.where(features > 0, features, 0.3 * features)
    expected = 1.2 * torch.tanh(features @ model.output.weight.T + model.output.bias)
    torch.testing.assert_close(model(log_counts(universe())), expected)


def test_an_even_kernel_pads_after_the_data_as_keras_does():
    convolution = build(kernel_size=2).blocks[0][0]
    volume = log_counts(universe(1))
    padded = nn.functional.pad(volume, (0, 1, 0, 1, 0, 1))
    expected = nn.functional.conv3d(padded, convolution.weight, convolution.bias)
    torch.testing.assert_close(convolution(volume), expected)


def test_initial_state_is_glorot_uniform_with_zero_biases():
    for layer in build().modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            receptive = layer.weight[0, 0].numel()
            fan_in, fan_out = layer.weight.shape[1] * receptive, layer.weight.shape[0] * receptive
            limit = (6 / (fan_in + fan_out)) ** 0.5
            assert 0.9 * limit < layer.weight.abs().max() <= limit
            assert layer.weight.var().item() == pytest.approx(limit**2 / 3, rel=0.25)
            assert layer.bias.abs().max() == 0


def test_initial_state_follows_the_seed():
    first, second = build().state_dict(), build().state_dict()
    torch.manual_seed(7)
    other = CosmoFlow(input_size=32).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])


def test_dropout_acts_in_training_only():
    model, volume = build(dropout=0.5), log_counts(universe())
    torch.manual_seed(3)
    assert not torch.equal(model(volume), model(volume))
    model.eval()
    assert torch.equal(model(volume), model(volume))


def gradients(model: CosmoFlow, volume: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    prediction = model(volume)
    prediction.square().sum().backward()
    return prediction.detach(), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_pooling_first_gives_the_same_bits(kernel_size):
    volume = log_counts(universe())
    plain, plain_gradients = gradients(build(kernel_size=kernel_size), volume)
    pooled, pooled_gradients = gradients(build(kernel_size=kernel_size, pool_first=True), volume)
    assert torch.equal(plain, pooled)
    for expected, found in zip(plain_gradients, pooled_gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_channels_last_leaves_the_mathematics_alone():
    volume = log_counts(universe())
    expected, expected_gradients = gradients(build(), volume)
    model = build().to(memory_format=torch.channels_last_3d)
    found, found_gradients = gradients(model, volume.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    for expected_gradient, found_gradient in zip(expected_gradients, found_gradients, strict=True):
        torch.testing.assert_close(found_gradient, expected_gradient, rtol=1e-3, atol=1e-5)


def test_bf16_autocast_stays_within_bf16_rounding():
    volume = log_counts(universe())
    expected = build()(volume)
    with torch.autocast("cpu", torch.bfloat16):
        found = build()(volume)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.03)


def test_compiling_leaves_the_mathematics_alone():
    volume = log_counts(universe())
    expected, expected_gradients = gradients(build(), volume)
    model = build()
    compiled = torch.compile(model, backend="aot_eager")
    prediction = compiled(volume)
    prediction.square().sum().backward()
    torch.testing.assert_close(prediction, expected)
    for expected_gradient, parameter in zip(expected_gradients, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected_gradient, rtol=1e-4, atol=1e-6)


def test_only_the_two_hidden_dense_kernels_are_decayed():
    model = build()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(kernel)] for kernel in model.decayed_kernels()] == ["hidden1.weight", "hidden2.weight"]


def test_the_dense_layers_compute_in_fp32_in_any_precision():
    torch.manual_seed(0)
    model = CosmoFlow(input_size=32).eval()
    model.blocks = nn.Identity()
    features = torch.randn(3, 512, 1, 1, 1) * 2
    plain = model(features)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(features)
    assert found.dtype == torch.float32
    assert torch.equal(found, plain)
