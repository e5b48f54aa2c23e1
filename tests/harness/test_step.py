# SPDX-License-Identifier: Apache-2.0
"""A warm-up runs every step and leaves no trace; a captured step would fall back for other shapes."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.distributed.world import World
from harness.optim.optimizers import LAMB, LARS, KerasSGD, torch_sgd
from harness.precision import Precision
from harness.step import Step, warm_up
from harness.system_settings import SystemSettings

OPTIMIZERS = {
    "keras": lambda model, lr: KerasSGD(model.parameters(), lr=lr),
    "lars": lambda model, lr: LARS(model.parameters(), lr=lr, momentum=0.9, weight_decay=0.1),
    "lamb": lambda model, lr: LAMB(model.parameters(), lr=lr, weight_decay=0.1),
    "sgd": lambda model, lr: torch_sgd(model.parameters(), lr=lr, momentum=0.9),
    "adam": lambda model, lr: torch.optim.Adam(model.parameters(), lr=lr, fused=True),
}


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 1))


def training_step(model, optimizer, precision, inputs_N6):
    optimizer.zero_grad()
    loss = model(inputs_N6).square().mean()
    precision.backward(loss)
    precision.step(optimizer)
    return loss.detach()


def losses(optimizer_name: str, precision_name: str, *, num_warm_up_steps: int) -> list[float]:
    """Two steps before the warm-up, so that optimizer and batch norm have a state, and three after it."""
    model = network()
    optimizer = OPTIMIZERS[optimizer_name](model, torch.tensor(0.1))
    precision = Precision(precision_name, "cpu")
    step = Step(lambda inputs_N6: training_step(model, optimizer, precision, inputs_N6), model, training=True)
    system = SystemSettings(warm_up_steps=num_warm_up_steps)
    run = SimpleNamespace(config=SimpleNamespace(system=system), world=World())
    batches = torch.randn(5, 8, 6, generator=torch.Generator().manual_seed(2))
    parts = {"model": model, "optimizer": optimizer, "precision": precision}
    model.train()
    found = []
    for number, batch_N6 in enumerate(batches):
        if number in (0, 2):
            warm_up([(step, (torch.full((8, 6), float(number)),))], run, **parts)
        found.append(float(step(batch_N6)))
    return found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_warm_up_leaves_weights_buffers_optimizer_and_random_state_untouched(optimizer):
    expected = losses(optimizer, "fp32", num_warm_up_steps=0)
    assert losses(optimizer, "fp32", num_warm_up_steps=3) == expected
    assert len(set(expected)) == 5


@pytest.mark.parametrize("optimizer", ["keras", "sgd", "adam"])
def test_a_warm_up_leaves_the_loss_scale_untouched(optimizer):
    assert losses(optimizer, "fp16", num_warm_up_steps=3) == losses(optimizer, "fp16", num_warm_up_steps=0)


def test_the_warm_up_runs_each_step_in_its_mode():
    model, modes = network(), []
    optimizer = torch.optim.SGD(model.parameters())
    train, measure = (
        Step(lambda _: modes.append(model.training), model, training=training) for training in (True, False)
    )
    run = SimpleNamespace(config=SimpleNamespace(system=SystemSettings(warm_up_steps=2)), world=World())
    inputs = (torch.zeros(2, 6),)
    steps = [(train, inputs), (measure, inputs)]
    warm_up(steps, run, model=model, optimizer=optimizer, precision=Precision("fp32", "cpu"))
    assert modes == [True, True, False, False]


class Graph:
    """A captured graph that doubles what its input holds."""

    def __init__(self, step: Step):
        self.step = step

    def replay(self) -> None:
        self.step._outputs.copy_(self.step._inputs[0] * 2)


def test_a_captured_step_is_replayed_on_its_own_shapes_and_run_on_others():
    step = Step(lambda values: values + 1, network(), training=False)
    step._inputs, step._outputs, step._graph = (torch.zeros(3),), torch.zeros(3), Graph(step)
    assert step(torch.tensor([1.0, 2.0, 3.0])).tolist() == [2.0, 4.0, 6.0]
    assert step(torch.tensor([1.0, 2.0])).tolist() == [2.0, 3.0]
