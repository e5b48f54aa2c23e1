# SPDX-License-Identifier: Apache-2.0
"""The box head: levels of regions, sampling, losses and detections by hand."""

import math

import pytest
import torch

from ewa_fasterrcnn.model import box_head
from ewa_fasterrcnn.model.box_head import (
    BoxHead,
    Detections,
    Truth,
    by_image,
    detections,
    labels_of,
    level_of,
    match_regions,
)
from ewa_fasterrcnn.model.matching import BACKGROUND, IGNORED, sample
from ewa_fasterrcnn.model.random_numbers import random_numbers
from ewa_fasterrcnn.model.region_proposals import Proposals


def square(side: float) -> list[float]:
    return [0.0, 0.0, side, side]


def test_a_region_of_224_pixels_belongs_to_the_third_level():
    boxes = torch.tensor([square(side) for side in (10.0, 111.0, 112.0, 223.0, 224.0, 447.0, 448.0, 2000.0)])
    assert level_of(boxes, 32, 4).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_levels_scale_with_the_anchors():
    boxes = torch.tensor([square(side) for side in (27.0, 28.0, 56.0, 112.0)])
    assert level_of(boxes, 8, 4).tolist() == [0, 1, 2, 3]


def proposals_of(*boxes: list[float], num_empty: int = 0) -> Proposals:
    """Proposals of one image, with empty rows at the end."""
    rows = torch.tensor([[*boxes, *[[0.0] * 4] * num_empty]])
    return Proposals(rows, torch.tensor([[True] * len(boxes) + [False] * num_empty]))


def truth_of(*rows: list[float], num_unused: int = 2) -> Truth:
    """Storms of one image, with unused rows at the end."""
    return Truth.of_rows(torch.tensor([[*rows, *[[-1.0] * 5] * num_unused]]))


FAR = [50.0, 50.0, 60.0, 60.0]


def test_unused_rows_are_no_storms():
    truth = truth_of([1.0, 2.0, 3.0, 4.0, 0.0])
    assert truth.classes_NG.tolist() == [[0, -1, -1]]
    assert truth.boxes_NG4[0, 0].tolist() == [1, 2, 3, 4]


def test_true_boxes_are_candidates_and_empty_rows_are_none():
    candidates, matches = match_regions(
        proposals_of(square(9.0), [30.0, 30.0, 40.0, 40.0], num_empty=1), truth_of([*square(10.0), 2], [*FAR, 0])
    )
    assert candidates[0, :2].tolist() == [square(10.0), FAR]
    assert matches.tolist() == [[0, 1, IGNORED, IGNORED, 0, BACKGROUND, IGNORED]]


def test_sampled_regions_have_the_class_of_their_storm_and_come_foreground_first():
    truth = truth_of([*square(10.0), 2], [*FAR, 0])
    _, matches = match_regions(proposals_of(square(9.0), [80.0, 80.0, 90.0, 90.0]), truth)
    random_NP = random_numbers(torch.tensor([0]), matches.shape[1], purpose=1)
    sampled = sample(matches, random_NP, num=6, foreground_share=0.5)
    labels = labels_of(truth, matches, sampled)[0].tolist()
    assert sorted(labels[:3]) == [1, 3, 3]
    assert labels[3:] == [0, 0, 0]
    assert sampled.is_filled_NS.tolist() == [[True] * 4 + [False] * 2]


class Judgement(BoxHead):
    """A head that says the same of every region: given logits and deltas."""

    def __init__(self, logits_K: list[float], deltas_K4: list[list[float]]) -> None:
        super().__init__(num_channels=1, num_features=2, num_classes=len(logits_K), num_sampled=4, finest_anchor=8)
        self.logits_K, self.deltas_K4 = torch.tensor(logits_K), torch.tensor(deltas_K4)

    def judge(self, crops_RC77):
        return self.logits_K.expand(len(crops_RC77), -1), self.deltas_K4.expand(len(crops_RC77), -1, -1)


def losses_of(head: BoxHead, proposals: Proposals, truth: Truth) -> tuple[float, float]:
    pyramid = [torch.zeros(1, 1, 16 >> level, 16 >> level) for level in range(4)]
    random_NP = random_numbers(torch.tensor([0]), truth.classes_NG.shape[1] + proposals.boxes_NP4.shape[1], purpose=1)
    classes_N, moves_N = head.losses(pyramid, proposals, truth, random_NP, (64, 64))
    return classes_N.item(), moves_N.item()


def test_losses_by_hand():
    # The class of the storm is 1, its label 2: deltas of other classes are no part of the loss.
    head = Judgement([math.log(2), 0.0, 0.0], [[99.0] * 4, [99.0] * 4, [3.0, 0.0, 0.0, 0.0]])
    classes, moves = losses_of(head, proposals_of([40.0, 40.0, 50.0, 50.0]), truth_of([*square(10.0), 1]))
    assert classes == pytest.approx((math.log(4) + math.log(2)) / 2)
    assert moves == pytest.approx((3 - 1 / 18) / 2)


def test_without_storms_all_regions_are_background_and_no_edge_is_learned():
    head = Judgement([math.log(2), 0.0, 0.0], [[99.0] * 4] * 3)
    classes, moves = losses_of(head, proposals_of(square(9.0), num_empty=3), truth_of())
    assert (classes, moves) == (pytest.approx(math.log(2)), 0.0)


def found_in(scores: list[list[float]], regions: list[list[float]], image_size, *, num_empty: int = 0) -> Detections:
    """Detections in one image of regions that do not move; empty rows have the scores of the first region."""
    scores_NRK = torch.tensor([scores + [scores[0]] * num_empty])
    deltas_NRK4 = torch.zeros(*scores_NRK.shape, 4)
    (found,) = by_image(detections(scores_NRK, deltas_NRK4, proposals_of(*regions, num_empty=num_empty), image_size))
    return found


def test_detections_are_scored_moved_and_thinned_out_class_by_class():
    scores = [[0.1, 0.6, 0.3], [0.2, 0.75, 0.05], [0.94, 0.03, 0.03]]
    found = found_in(scores, [square(10.0), square(9.0), [20.0, 20.0, 30.0, 30.0]], (32, 32), num_empty=2)
    assert found.scores_D.tolist() == pytest.approx([0.75, 0.3])
    assert found.classes_D.tolist() == [0, 1]  # without background
    assert found.boxes_D4.tolist() == [square(9.0), square(10.0)]


def test_detections_are_bounded_in_number_and_clipped(monkeypatch):
    monkeypatch.setattr(box_head, "MOST_DETECTIONS", 3)
    regions = [[0.0, 40.0 * number, 20.0, 40.0 * number + 20] for number in range(5)]
    found = found_in([[0.2, 0.8]] * 5, regions, (10, 200))
    assert len(found.scores_D) == 3
    assert found.boxes_D4[:, 2].max().item() == 10.0


def test_nothing_found_is_no_detection():
    assert [len(column) for column in found_in([[1.0, 0.0]], [square(4.0)], (8, 8))] == [0, 0, 0]


def test_a_score_that_is_no_number_is_no_detection():
    assert [len(column) for column in found_in([[1.0, math.nan]], [square(4.0)], (8, 8))] == [0, 0, 0]


def test_a_box_that_is_no_number_is_no_detection():
    deltas_NRK4 = torch.full((1, 2, 2, 4), math.nan)
    deltas_NRK4[0, 1] = 0.0
    regions = proposals_of(square(4.0), [5.0, 5.0, 8.0, 8.0])
    (found,) = by_image(detections(torch.tensor([[[0.1, 0.9]] * 2]), deltas_NRK4, regions, (8, 8)))
    assert found.boxes_D4.tolist() == [[5, 5, 8, 8]]


def test_the_head_judges_the_regions_of_each_image():
    torch.manual_seed(0)
    head = BoxHead(num_channels=2, num_features=8, num_classes=3, finest_anchor=8)
    pyramid = [torch.randn(2, 2, 16 >> level, 16 >> level) for level in range(4)]
    regions = torch.tensor([[square(20.0), square(60.0)], [square(30.0), square(12.0)]])
    logits, deltas = head(pyramid, regions, (64, 64))
    assert (logits.shape, deltas.shape) == ((2, 2, 3), (2, 2, 3, 4))
    alone, _ = head([level[1:] for level in pyramid], regions[1:], (64, 64))
    assert torch.allclose(logits[1:], alone, atol=1e-6)
