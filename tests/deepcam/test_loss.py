# SPDX-License-Identifier: Apache-2.0
"""The loss against hand-worked cases and a loop over pixels."""

import math

import pytest
import torch

from deepcam.loss import CLASS_WEIGHTS, weighted_cross_entropy


def pixel_by_pixel(logits: torch.Tensor, labels: torch.Tensor) -> float:
    losses = []
    for sample, row, column in torch.cartesian_prod(*(torch.arange(size) for size in labels.shape)).tolist():
        pixel = logits[sample, :, row, column].tolist()
        label = int(labels[sample, row, column])
        log_sum = math.log(sum(math.exp(value) for value in pixel))
        losses.append(CLASS_WEIGHTS[label] * (log_sum - pixel[label]))
    return sum(losses) / len(losses)


def test_the_weights_are_those_of_the_reference():
    assert [round(weight, 4) for weight in CLASS_WEIGHTS] == [1.0017, 2.6146, 1.7164]


def test_two_pixels_by_hand():
    logits = torch.tensor([[0.0, math.log(2.0)], [0.0, 0.0], [0.0, 0.0]]).view(1, 3, 1, 2)
    labels = torch.tensor([[[1, 0]]])
    # pixel 1: 2.6146 log 3; pixel 2: probability 2 / 4, so 1.0017 log 2; divided by two pixels, not by the weights
    expected = (2.6146 * math.log(3) + 1.0017 * math.log(2)) / 2
    assert float(weighted_cross_entropy(logits, labels)) == pytest.approx(expected, rel=1e-4)


def test_against_a_loop_over_pixels():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5, 4) * 3, torch.randint(0, 3, (2, 5, 4))
    assert float(weighted_cross_entropy(logits, labels)) == pytest.approx(pixel_by_pixel(logits, labels), rel=1e-6)


def test_labels_of_one_byte_and_half_precision_logits_serve():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5, 4).bfloat16(), torch.randint(0, 3, (2, 5, 4), dtype=torch.uint8)
    loss = weighted_cross_entropy(logits, labels)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(pixel_by_pixel(logits.float(), labels), rel=1e-6)


def test_halves_of_a_batch_average_to_the_whole():
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3, 5, 4), torch.randint(0, 3, (4, 5, 4))
    halves = [weighted_cross_entropy(logits[half], labels[half]) for half in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(sum(halves) / 2, weighted_cross_entropy(logits, labels))
