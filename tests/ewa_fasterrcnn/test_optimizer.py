# SPDX-License-Identifier: Apache-2.0
"""Learning rates, weight decay and clipping, worked by hand."""

import pytest
import torch

from ewa_fasterrcnn import optimizer
from ewa_fasterrcnn.config import Hyperparameters
from ewa_fasterrcnn.model.faster_rcnn import FasterRCNN
from harness import optim


def rates(*times: float, num_epochs: int = 50, **fields) -> list[float]:
    hyperparameters = Hyperparameters(opt_base_learning_rate=1.0, **fields)
    return [optimizer.learning_rate(time, num_epochs, hyperparameters) for time in times]


def test_reference_learning_rates_rise_and_step_down():
    assert rates(0, 0.25, 1, 33, 33.5, 44.5) == pytest.approx([0, 0.25, 1, 1, 0.1, 0.01])


def test_a_cosine_falls_to_zero_at_the_end():
    found = rates(0.5, 1, 25.5, 50, opt_learning_rate_schedule="cosine")
    assert found == pytest.approx([0.5, 1, 0.5, 0])


def test_weight_decay_spares_norms_only_where_told():
    network = FasterRCNN(base_width=8, pyramid_channels=16, head_features=16)
    (everything,) = optimizer.build_optimizer(network, Hyperparameters()).param_groups
    assert (everything["weight_decay"], everything["momentum"]) == (1e-4, 0.9)
    assert len(everything["params"]) == len(list(network.parameters()))
    groups = optimizer.build_optimizer(network, Hyperparameters(opt_weight_decay_on_batch_norm=False)).param_groups
    assert [group["weight_decay"] for group in groups] == [1e-4, 0.0]
    assert len(groups[1]["params"]) == 2 * 53


@pytest.mark.parametrize(("name", "kind"), [("lars", optim.LARS), ("lamb", optim.LAMB)])
def test_layerwise_policies_are_there_too(name, kind):
    built = optimizer.build_optimizer(torch.nn.Linear(2, 1), Hyperparameters(opt_name=name))
    assert isinstance(built, kind)
    assert built.param_groups[0]["weight_decay"] == 1e-4


def test_gradients_are_scaled_down_together():
    network = torch.nn.Linear(2, 1, bias=False)
    network.weight.grad = torch.tensor([[30.0, 40.0]])
    optimizer.clip_gradients(network, None)
    assert network.weight.grad.tolist() == [[30, 40]]
    optimizer.clip_gradients(network, 10.0)
    assert network.weight.grad[0].tolist() == pytest.approx([6, 8], rel=1e-4)
