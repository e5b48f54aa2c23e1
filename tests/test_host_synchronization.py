# SPDX-License-Identifier: Apache-2.0
"""The refusal of host synchronization: each kind is found, forward and backward, and a clean step passes."""

import pytest
import torch
from torch import nn

from tests.host_synchronization import HostSynchronization, no_host_synchronization

SYNCHRONIZING = {
    "item": lambda values: values.sum().item(),
    "float": lambda values: float(values[0].detach()),
    "branch": lambda values: 1 if values[0] > 0 else 2,
    "tolist": lambda values: values.tolist(),
    "numpy": lambda values: values.detach().numpy(),
    "cpu": lambda values: values.cpu(),
    "nonzero": lambda values: values.nonzero(),
    "where": lambda values: torch.where(values > 0),
    "masked_select": lambda values: values.masked_select(values > 0),
    "mask": lambda values: values[values > 0],
    "assignment by a mask": lambda values: values.detach().clone().__setitem__(values > 0, values[0]),
    "equal": lambda values: torch.equal(values, values),
    "unique": lambda values: values.unique(),
    "repeat_interleave": lambda values: values.repeat_interleave(values.long()),
    "tensor from Python": lambda values: values + torch.tensor([1.0, 2.0, 3.0]),
    "new_tensor": lambda values: values.new_tensor([1.0]),
    "index by a list": lambda values: values[[0, 2]],
}


@pytest.mark.parametrize("name", SYNCHRONIZING)
def test_each_kind_is_refused(name):
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    SYNCHRONIZING[name](values)  # right in itself
    with pytest.raises(HostSynchronization), no_host_synchronization():
        SYNCHRONIZING[name](values)


def test_a_gradient_that_synchronizes_is_refused():
    class Reading(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            return values * 2

        @staticmethod
        def backward(ctx, gradients):
            return gradients * gradients.sum().item()

    values = torch.ones(3, requires_grad=True)
    with pytest.raises(HostSynchronization, match="_local_scalar_dense"), no_host_synchronization():
        Reading.apply(values).sum().backward()


def test_a_step_on_the_device_passes():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images, classes = torch.randn(4, 1, 8, 8), torch.randint(0, 3, (4,))

    def step():
        optimizer.zero_grad()
        logits = model(images)
        chosen = torch.where(logits > 0, logits, 0.0)[torch.arange(4), classes]
        (nn.functional.cross_entropy(logits, classes) + chosen.mean()).backward()
        optimizer.step()

    step()
    with no_host_synchronization():
        step()
