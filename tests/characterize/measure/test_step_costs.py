# SPDX-License-Identifier: Apache-2.0
"""Operations and bytes of a step, compared with sums done by hand."""

import pytest
import torch
from torch import nn

from characterize.measure import benchmarks
from characterize.measure.step_costs import MemoryTraffic, count

DENSE, DEPTHWISE, LINEAR = 2 * 4 * 9 * 64, 4 * 9 * 64, 64 * 3
"""Multiply-adds of the toy's layers for one sample."""


def test_operations_of_a_step(toy):
    """Forward pass and both gradients of each layer, without the gradient of the first layer's input."""
    expected = 2 * (2 * DENSE + 3 * DEPTHWISE + 3 * LINEAR)
    assert count(toy, (8, 8), 1).flops == expected
    assert count(toy, (8, 8), 3).flops == 3 * expected


def test_gradients_are_four_bytes_a_parameter(toy):
    costs = count(toy, (8, 8), 1)
    assert costs.num_parameters == 2 * 4 * 9 + 4 * 9 + 2 * 4 + 64 * 3
    assert costs.gradient_bytes == 4 * costs.num_parameters


def test_memory_traffic_of_an_addition():
    with MemoryTraffic() as traffic:
        torch.ones(10, device="meta") + torch.ones(10, device="meta")
    assert traffic.num_bytes == 2 * 40 + 3 * 40  # two ones are written; two are read and their sum written


def test_views_move_nothing():
    value = torch.empty(6, 4, device="meta")
    with MemoryTraffic() as traffic:
        value.t().reshape(4, 6)[1:].unsqueeze(0)
    assert traffic.num_bytes == 0


def test_memory_grows_with_samples_but_for_the_parameters(toy):
    one, two, three = (count(toy, (8, 8), samples).memory_bytes for samples in (1, 2, 3))
    assert one < two < 2 * one
    assert three - two == two - one


@pytest.mark.parametrize(
    ("name", "gigaflops", "parameters"),
    [("cosmoflow", 192.1, 8_907_556), ("deepcam", 1962.6, 56_454_720), ("imagenet_resnet", 24.3, 25_557_032)],
)
def test_reference_networks_cost_what_is_known(name, gigaflops, parameters):
    if name not in benchmarks.installed():
        pytest.skip(f"{name} is not installed")
    benchmark = benchmarks.installed()[name]
    costs = count(benchmark, benchmark.reference_size, 1)
    assert costs.flops / 1e9 == pytest.approx(gigaflops, rel=1e-3)
    assert costs.num_parameters == parameters


def test_regions_of_faster_rcnn_are_counted():
    if "ewa_fasterrcnn" not in benchmarks.installed():
        pytest.skip("ewa_fasterrcnn is not installed")
    from ewa_fasterrcnn.model.faster_rcnn import training_flops

    benchmark = benchmarks.installed()["ewa_fasterrcnn"]
    with torch.device("meta"):
        model = benchmark.make_model((96, 144))
    assert count(benchmark, (96, 144), 1).flops == pytest.approx(training_flops(model, (96, 144)), rel=1e-3)


def test_a_network_left_on_meta_has_no_memory(toy):
    count(toy, (8, 8), 1)
    assert isinstance(toy.make_model((8, 8)), nn.Sequential)
    assert torch.get_default_device().type == "cpu"
