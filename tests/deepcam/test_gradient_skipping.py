# SPDX-License-Identifier: Apache-2.0
"""Leading stages stop being updated once they have settled: in order, for good, by the stated measure."""

import pytest
import torch
from torch import nn

from deepcam.gradient_skipping import GradientSkipping


class Chain(nn.Module):
    """As much of DeepCAM as skipping knows of: five stages in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.stem, self.encoder.shallow = nn.Linear(4, 4), nn.Linear(4, 4)
        self.encoder.deep = nn.Sequential(nn.Linear(4, 4))
        self.encoder.middle = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def forward(self, x):
        stages = [self.encoder.stem, self.encoder.shallow, *self.encoder.deep, *self.encoder.middle]
        for stage in stages:
            x = stage(x)
        return x


def grow(stage: nn.Module, factor: float) -> None:
    with torch.no_grad():
        for parameter in stage.parameters():
            parameter.mul_(factor)


def test_the_change_is_relative_to_the_weights_an_epoch_ago():
    network = Chain()
    skipping = GradientSkipping(network, threshold=0.01)
    grow(network.encoder.shallow, 1.25)
    assert skipping.change(1) == pytest.approx(0.25, rel=1e-5)
    assert skipping.change(0) == 0.0


def test_stages_stop_from_the_input_on_until_the_first_that_moves():
    network = Chain()
    skipping = GradientSkipping(network, threshold=0.01)
    grow(network.encoder.stem, 1.005)
    grow(network.encoder.deep, 1.5)
    assert skipping.update() == 2  # the third moved; the fourth and fifth did not, but lie behind it
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    assert wanted == [False] * 4 + [True] * 6


def test_nothing_stops_while_the_first_stage_moves():
    network = Chain()
    skipping = GradientSkipping(network, threshold=0.01)
    grow(network.encoder.stem, 1.1)
    assert skipping.update() == 0
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_later_epoch_is_measured_from_the_last_one_and_stops_are_for_good():
    network = Chain()
    skipping = GradientSkipping(network, threshold=0.01)
    grow(network.encoder.shallow, 1.5)
    assert skipping.update() == 1
    grow(network.encoder.deep, 1.5)
    assert skipping.update() == 2


def test_backward_ends_at_the_first_stage_that_is_updated():
    network = Chain()
    skipping = GradientSkipping(network, threshold=0.01)
    grow(network.encoder.middle, 2.0)
    assert skipping.update() == 3
    network(torch.randn(2, 4)).sum().backward()
    assert [parameter.grad is not None for parameter in network.parameters()] == [False] * 6 + [True] * 4


def test_a_restart_skips_the_same_stages_and_compares_with_the_restored_weights():
    network = Chain()
    skipping = GradientSkipping(network, threshold=0.01)
    grow(network.encoder.shallow, 1.5)
    skipping.update()
    restored = Chain()
    restored.load_state_dict(network.state_dict())
    resumed = GradientSkipping(restored, threshold=0.01)
    resumed.load_state_dict(skipping.state_dict())
    assert resumed.num_skipped == 1
    assert not any(parameter.requires_grad for parameter in restored.encoder.stem.parameters())
    grow(restored.encoder.shallow, 1.25)
    assert resumed.change(1) == pytest.approx(0.25, rel=1e-5)


def test_without_a_threshold_nothing_is_remembered():
    network = Chain()
    skipping = GradientSkipping(network, threshold=None)
    assert skipping.num_skipped == 0
    assert skipping._before == []
