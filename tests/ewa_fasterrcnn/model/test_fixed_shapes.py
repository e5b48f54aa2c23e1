# SPDX-License-Identifier: Apache-2.0
"""The form with fixed shapes computes what the plain one does: losses and gradients in float64, and detections."""

import pytest
import torch
from torch import Tensor, nn

from ewa_fasterrcnn.model.box_head import Truth, by_image
from ewa_fasterrcnn.model.faster_rcnn import FasterRCNN
from tests.ewa_fasterrcnn.model.plain_detector import plain_detections, plain_losses
from tests.host_synchronization import no_host_synchronization

SMALL = {
    "base_width": 8,
    "pyramid_channels": 16,
    "head_features": 32,
    "anchor_sizes": (8, 16, 24, 32, 48),
    "num_proposals": 100,
    "num_sampled_regions": 48,
}
KEYS_N = torch.tensor([7, 8, 9])
STORMS = (
    [[10, 20, 30, 44, 2], [5, 50, 58, 80, 3], [40, 4, 60, 30, 0], [0, 70, 20, 96, 1]],
    [],
    [[33, 33, 35, 36, 1]],  # smaller than all anchors
)


def truth() -> Truth:
    rows_NB5 = torch.full((len(STORMS), 15, 5), -1.0, dtype=torch.float64)
    for image, rows in enumerate(STORMS):
        for number, row in enumerate(rows):
            rows_NB5[image, number] = torch.tensor(row)
    return Truth.of_rows(rows_NB5)


def decisive(model: FasterRCNN) -> FasterRCNN:
    """Strong weights in the last layers, so that anchors and regions move and scores differ."""
    with torch.no_grad():
        for layer, strength in (
            (model.proposals.objectness, 1.0),
            (model.proposals.deltas, 0.3),
            (model.head.classes, 1.0),
            (model.head.deltas, 0.5),
        ):
            layer.weight.normal_(std=strength)
    return model


def make(seed: int) -> tuple[FasterRCNN, Tensor]:
    torch.manual_seed(seed)
    model = decisive(FasterRCNN(**SMALL)).double()
    return model, torch.randn(len(STORMS), 16, 64, 96, dtype=torch.float64)


def gradients(model: nn.Module, losses_NL: Tensor) -> list[Tensor]:
    weights_NL = torch.linspace(0.5, 2, losses_NL.numel(), dtype=torch.float64).view_as(losses_NL)
    return torch.autograd.grad((losses_NL * weights_NL).sum(), list(model.parameters()))


@pytest.mark.parametrize("seed", [0, 1])
def test_losses_and_gradients_are_those_of_the_plain_form(seed):
    model, fields = make(seed)
    fixed, plain = model(fields, truth(), KEYS_N), plain_losses(model, fields, truth(), KEYS_N)
    assert torch.allclose(fixed, plain, rtol=1e-10, atol=1e-12)
    assert (plain[:, [0, 2]] > 0).all()
    assert (plain[[0, 2]] > 0).all()
    for own, expected in zip(gradients(model, fixed), gradients(model, plain), strict=True):
        assert torch.allclose(own, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", [0, 1])
def test_detections_are_those_of_the_plain_form(seed):
    model, fields = make(seed)
    model.eval()
    fixed, plain = by_image(model(fields)), plain_detections(model, fields)
    assert sum(len(image.scores_D) for image in plain) > 30
    for own, expected in zip(fixed, plain, strict=True):
        for column, expected_column in zip(own, expected, strict=True):
            assert torch.allclose(column, expected_column, rtol=1e-10)


def test_no_operation_of_a_pass_waits_for_the_device():
    model, fields = make(0)
    rows = truth()
    with no_host_synchronization():
        model(fields, rows, KEYS_N).sum().backward()
        model.eval()(fields)


@pytest.mark.slow
def test_the_whole_network_and_its_losses_are_one_graph():
    model, fields = make(0)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    losses, expected = compiled(fields, truth(), KEYS_N), model(fields, truth(), KEYS_N)
    assert torch.allclose(losses, expected, rtol=1e-10)
    for own, reference in zip(gradients(model, losses), gradients(model, expected), strict=True):
        assert torch.allclose(own, reference, rtol=1e-8, atol=1e-10)
    model.eval()
    for column, expected_column in zip(compiled(fields), model(fields), strict=True):
        assert torch.allclose(column, expected_column)
