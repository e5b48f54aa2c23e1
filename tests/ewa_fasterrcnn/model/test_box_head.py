# SPDX-License-Identifier: Apache-2.0
"""The box head: levels of regions, sampling, losses and detections by hand."""

import math

import pytest
import torch

from ewa_fasterrcnn.model import box_head
from ewa_fasterrcnn.model.box_head import BoxHead, Truth, crop, detections, level_of, region_losses, sample_regions


def square(side: float) -> list[float]:
    return [0.0, 0.0, side, side]


def test_a_region_of_224_pixels_belongs_to_the_third_level():
    boxes = torch.tensor([square(side) for side in (10.0, 111.0, 112.0, 223.0, 224.0, 447.0, 448.0, 2000.0)])
    assert level_of(boxes, 32, 4).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_levels_scale_with_the_anchors():
    boxes = torch.tensor([square(side) for side in (27.0, 28.0, 56.0, 112.0)])
    assert level_of(boxes, 8, 4).tolist() == [0, 1, 2, 3]


def test_crops_come_from_the_level_of_each_region_in_the_order_of_the_regions():
    levels = [torch.full((1, 64 >> level, 64 >> level), float(level)) for level in range(4)]
    sides = [200.0, 20.0, 60.0, 30.0]  # levels 3, 0, 2, 1 with a finest anchor of 8
    crops = crop(levels, torch.tensor([square(side) for side in sides]), (256, 256), 8)
    assert crops.shape == (4, 1, 7, 7)
    assert [one.unique().tolist() for one in crops] == [[3.0], [0.0], [2.0], [1.0]]


def test_sampled_regions_hold_the_true_boxes_and_come_foreground_first():
    truth = Truth(torch.tensor([square(10.0), [50.0, 50.0, 60.0, 60.0]]), torch.tensor([2, 0]))
    proposals = torch.tensor([square(9.0), [30.0, 30.0, 40.0, 40.0], [80.0, 80.0, 90.0, 90.0]])
    regions, labels, matched = sample_regions(proposals, truth, torch.Generator().manual_seed(0), num=20)
    foreground = {tuple(box): label for box, label in zip(regions.tolist(), labels.tolist(), strict=True) if label}
    assert foreground == {tuple(square(10.0)): 3, tuple(square(9.0)): 3, (50.0, 50.0, 60.0, 60.0): 1}
    assert labels.tolist()[len(matched) :] == [0, 0]
    assert len(matched) == 3


def test_without_storms_all_sampled_regions_are_background():
    truth = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    regions, labels, matched = sample_regions(torch.tensor([square(9.0)]), truth, torch.Generator(), num=4)
    assert (regions.tolist(), labels.tolist(), len(matched)) == ([square(9.0)], [0], 0)


def test_losses_by_hand():
    logits = torch.tensor([[0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0]])
    deltas = torch.zeros(2, 3, 4)
    deltas[0, 2, 0] = 3.0  # of its class
    deltas[0, 1, 0] = 99.0  # of another class: no part of the loss
    region = torch.tensor([square(10.0), square(7.0)])
    classes, boxes = region_losses(logits, deltas, region, torch.tensor([2, 0]), torch.tensor([square(10.0)]))
    assert classes.item() == pytest.approx((math.log(3) + math.log(2)) / 2)
    assert boxes.item() == pytest.approx((3 - 1 / 18) / 2)


def test_without_foreground_the_loss_of_edges_is_zero_with_a_gradient():
    deltas = torch.randn(1, 3, 4, requires_grad=True)
    _, boxes = region_losses(
        torch.zeros(1, 3), deltas, torch.tensor([square(4.0)]), torch.tensor([0]), torch.zeros(0, 4)
    )
    boxes.backward()
    assert boxes.item() == 0.0
    assert deltas.grad.abs().sum().item() == 0.0


def test_detections_are_scored_moved_and_thinned_out_class_by_class():
    scores = torch.tensor([[0.1, 0.6, 0.3], [0.2, 0.75, 0.05], [0.94, 0.03, 0.03]])
    regions = torch.tensor([square(10.0), square(9.0), [20.0, 20.0, 30.0, 30.0]])
    found = detections(scores, torch.zeros(3, 3, 4), regions, (32, 32))
    assert found.scores_D.tolist() == pytest.approx([0.75, 0.3])
    assert found.classes_D.tolist() == [0, 1]  # without background
    assert found.boxes_D4.tolist() == [square(9.0), square(10.0)]


def test_detections_are_bounded_in_number_and_clipped(monkeypatch):
    monkeypatch.setattr(box_head, "MOST_DETECTIONS", 3)
    regions = torch.tensor([[0.0, 40.0 * number, 20.0, 40.0 * number + 20] for number in range(5)])
    scores = torch.tensor([[0.2, 0.8]] * 5)
    found = detections(scores, torch.zeros(5, 2, 4), regions, (10, 200))
    assert len(found.scores_D) == 3
    assert found.boxes_D4[:, 2].max().item() == 10.0


def test_nothing_found_is_no_detection():
    found = detections(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2, 4), torch.tensor([square(4.0)]), (8, 8))
    assert [len(column) for column in found] == [0, 0, 0]


def test_the_head_judges_regions_of_all_images_one_after_another():
    torch.manual_seed(0)
    head = BoxHead(num_channels=2, num_features=8, num_classes=3, finest_anchor=8)
    pyramid = [torch.randn(2, 2, 16 >> level, 16 >> level) for level in range(4)]
    regions = [torch.tensor([square(20.0)]), torch.tensor([square(30.0), square(12.0)])]
    logits, deltas = head(pyramid, regions, (64, 64))
    assert (logits.shape, deltas.shape) == ((3, 3), (3, 3, 4))
    alone, _ = head([level[1:] for level in pyramid], regions[1:], (64, 64))
    assert torch.allclose(logits[1:], alone, atol=1e-6)
