# SPDX-License-Identifier: Apache-2.0
"""The metric against hand-worked cases and a count with Python sets."""

import math

import pytest
import torch
from torch.nn.functional import one_hot

from deepcam.metric import MeanIoU, confusion, sample_iou


def logits_of(prediction: torch.Tensor) -> torch.Tensor:
    return one_hot(prediction.long(), 3).movedim(-1, 1).float() * 4 - 1


def iou_of(prediction: list[list[int]], label: list[list[int]]) -> float:
    prediction, label = torch.tensor([prediction]), torch.tensor([label])
    return float(sample_iou(confusion(logits_of(prediction), label)))


def with_sets(prediction: torch.Tensor, label: torch.Tensor) -> float:
    """The mean IoU of one sample from sets of pixel numbers."""
    scores = []
    for kind in range(3):
        predicted = {number for number, value in enumerate(prediction.flatten().tolist()) if value == kind}
        labelled = {number for number, value in enumerate(label.flatten().tolist()) if value == kind}
        union = predicted | labelled
        scores.append(len(predicted & labelled) / len(union) if union else 1.0)
    return sum(scores) / 3


def test_a_perfect_prediction_scores_one():
    assert iou_of([[0, 1], [2, 0]], [[0, 1], [2, 0]]) == 1.0


def test_a_sample_by_hand():
    # background: 1 of {3} -> predicted 1, labelled 2, both 1: 1/2; cyclone: 1/2; river: predicted 1, labelled 1: 1/1
    assert iou_of([[0, 1], [1, 2]], [[0, 0], [1, 2]]) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)


def test_a_class_that_nobody_saw_counts_as_one():
    assert iou_of([[0, 0], [0, 0]], [[0, 0], [0, 0]]) == 1.0
    assert iou_of([[0, 0], [0, 0]], [[0, 0], [0, 1]]) == pytest.approx((3 / 4 + 0 + 1) / 3)


def test_a_false_alarm_costs_the_whole_class():
    assert iou_of([[0, 0], [0, 1]], [[0, 0], [0, 0]]) == pytest.approx((3 / 4 + 0 + 1) / 3)


def test_rows_are_labels_and_columns_predictions():
    counts = confusion(logits_of(torch.tensor([[[1, 1, 2]]])), torch.tensor([[[0, 1, 1]]]))
    assert counts.tolist() == [[[0, 1, 0], [0, 1, 1], [0, 0, 0]]]


@pytest.mark.parametrize("label_type", [torch.uint8, torch.int64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_against_sets_of_pixels(label_type, memory_format):
    torch.manual_seed(3)
    logits = torch.randn(6, 3, 9, 7).contiguous(memory_format=memory_format)
    labels = torch.randint(0, 3, (6, 9, 7)).to(label_type)
    labels[0] = 0
    expected = [with_sets(*pair) for pair in zip(logits.softmax(1).argmax(1), labels, strict=True)]
    assert sample_iou(confusion(logits, labels)).tolist() == pytest.approx(expected)


def test_samples_are_averaged_not_their_confusion_matrices():
    accuracy = MeanIoU()
    labels = torch.tensor([[[0, 0, 0, 0]], [[0, 1, 2, 0]]])
    prediction = torch.tensor([[[0, 0, 0, 1]], [[0, 1, 2, 0]]])
    accuracy.update(sample_iou(confusion(logits_of(prediction), labels)))
    assert accuracy.value() == pytest.approx(((3 / 4 + 0 + 1) / 3 + 1) / 2)
    joint = confusion(logits_of(prediction), labels).sum(0, keepdim=True)
    assert accuracy.value() != pytest.approx(float(sample_iou(joint)))


def test_sums_and_counts_go_over_the_ranks_before_the_division():
    torch.manual_seed(4)
    logits, labels = torch.randn(5, 3, 8, 8), torch.randint(0, 3, (5, 8, 8))
    together, first, second = MeanIoU(), MeanIoU(), MeanIoU()
    together.update(sample_iou(confusion(logits, labels)))
    first.update(sample_iou(confusion(logits[:1], labels[:1])))  # one rank has one sample, the other four
    second.update(sample_iou(confusion(logits[1:3], labels[1:3])))
    second.update(sample_iou(confusion(logits[3:], labels[3:])))
    assert first.value(lambda own: own + second.sum_and_count) == pytest.approx(together.value())


def test_no_sample_is_no_score():
    assert math.isnan(MeanIoU().value())
