# SPDX-License-Identifier: Apache-2.0
"""The region proposal network: order of anchors, choice of proposals, losses by hand."""

import math

import pytest
import torch

from ewa_fasterrcnn.model.random_numbers import random_numbers
from ewa_fasterrcnn.model.region_proposals import Judged, RegionProposals, best_of_level, proposal_losses, select

ANCHORS = torch.tensor([[0.0, 0.0, 8.0, 8.0], [0.0, 8.0, 8.0, 16.0], [8.0, 0.0, 16.0, 8.0], [0.0, 0.0, 8.0, 7.0]])


def test_every_anchor_is_judged_by_its_own_cell():
    proposals = RegionProposals(num_channels=2, anchor_sizes=(4, 8, 16, 32, 64))
    for layer in (proposals.shared, proposals.objectness):
        layer.weight.data.zero_()
    proposals.shared.weight.data[0, 0, 1, 1] = 1.0  # passes the first channel on
    proposals.objectness.weight.data[:, 0, 0, 0] = torch.tensor([1.0, 2.0, 3.0])
    pyramid = [torch.zeros(1, 2, 16 >> level, 16 >> level) for level in range(5)]
    pyramid[1][0, 0, 2, 5] = 1.0
    judged = proposals(pyramid, (64, 64))
    assert judged.level_sizes == [768, 192, 48, 12, 3]
    assert judged.deltas_NA4.shape == (1, 1023, 4)
    lit = judged.objectness_NA[0].nonzero()[:, 0]
    assert judged.objectness_NA[0, lit].tolist() == [1.0, 2.0, 3.0]
    centres = (judged.anchors_A4[lit, :2] + judged.anchors_A4[lit, 2:]) / 2
    assert centres.tolist() == [[20.0, 44.0]] * 3  # cells of 8 pixels: (2 + 0.5) * 8, (5 + 0.5) * 8


def proposed(logits: torch.Tensor, deltas: torch.Tensor, *, num: int) -> list[list[float]]:
    """Proposals of one level of one image of 16 x 16 pixels."""
    found = select([best_of_level(ANCHORS, logits[None], deltas[None], (16, 16), num=num)], num=num)
    return found.boxes_NP4[found.is_filled_NP].tolist()


def test_proposals_are_the_best_moved_clipped_and_thinned_out():
    logits = torch.tensor([2.0, 1.0, -1.0, 1.5])
    deltas = torch.zeros(4, 4)
    deltas[1, 1] = 0.5  # half a side to the right: beyond the edge of the image
    assert proposed(logits, deltas, num=4) == [[0, 0, 8, 8], [0, 12, 8, 16], [8, 0, 16, 8]]
    assert proposed(logits, deltas, num=1) == [[0, 0, 8, 8]]


def test_a_proposal_outside_the_image_is_dropped():
    deltas = torch.zeros(4, 4)
    deltas[:, 0] = 10.0
    assert proposed(torch.zeros(4), deltas, num=4) == []


def test_the_best_of_all_levels_are_kept_whatever_their_numbers():
    levels = [
        (torch.tensor([[[0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 12.0, 12.0]]]), torch.tensor([[0.5, 0.1]])),
        (torch.tensor([[[0.0, 0.0, 4.0, 4.0]]]), torch.tensor([[0.3]])),  # the same box: levels do not suppress
    ]
    found = select(levels, num=2)
    assert found.boxes_NP4.tolist() == [[[0, 0, 4, 4], [0, 0, 4, 4]]]
    assert found.is_filled_NP.all()


def losses(logits: torch.Tensor, deltas: torch.Tensor, truth: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of one image with one row of true boxes."""
    judged = Judged(anchors_A4=ANCHORS, level_sizes=[4], objectness_NA=logits[None], deltas_NA4=deltas[None])
    random_NA = random_numbers(torch.tensor([0]), 4, purpose=0)
    objectness_N, moves_N = proposal_losses(judged, torch.tensor([[truth]]), random_NA)
    return objectness_N[0], moves_N[0]


def test_losses_by_hand():
    deltas = torch.zeros(4, 4)
    deltas[0, 0] = 1.0
    # Anchors 0 and 3 match the storm, the others are background.
    objectness, moved = losses(torch.zeros(4), deltas, [0.0, 0.0, 8.0, 8.0])
    assert objectness.item() == pytest.approx(math.log(2))
    # Anchor 0: an error of 1 - beta/2 with beta = 1/9. Anchor 3: its centre is 0.5 of 7 off, its width 8/7 too small.
    beta = 1 / 9
    expected = (1 - beta / 2) + (0.5 / 7) ** 2 / (2 * beta) + math.log(8 / 7) - beta / 2
    assert moved.item() == pytest.approx(expected / 4, rel=1e-5)


def test_an_image_without_storms_teaches_background_only():
    deltas = torch.randn(4, 4, requires_grad=True)
    objectness, moved = losses(torch.zeros(4), deltas, [-1.0, -1.0, -1.0, -1.0])
    assert objectness.item() == pytest.approx(math.log(2))
    moved.backward()
    assert moved.item() == 0.0
    assert deltas.grad.abs().sum().item() == 0.0  # zero, and not missing: ranks exchange it


def test_training_takes_twice_as_many_proposals():
    torch.manual_seed(0)
    proposals = RegionProposals(num_channels=4, anchor_sizes=(4, 8, 16, 32, 64), num_proposals=20)
    pyramid = [torch.randn(2, 4, 32 >> level, 32 >> level) for level in range(5)]
    judged = proposals(pyramid, (128, 128))
    training = proposals.select(judged, (128, 128))
    evaluating = proposals.eval().select(judged, (128, 128))
    assert training.boxes_NP4.shape == (2, 40, 4)
    assert evaluating.boxes_NP4.shape == (2, 20, 4)
