# SPDX-License-Identifier: Apache-2.0
"""The region proposal network: order of anchors, choice of proposals, losses by hand."""

import math

import pytest
import torch

from ewa_fasterrcnn.model.region_proposals import RegionProposals, image_losses, select_level

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


def test_proposals_are_the_best_moved_clipped_and_thinned_out():
    logits = torch.tensor([2.0, 1.0, -1.0, 1.5])
    deltas = torch.zeros(4, 4)
    deltas[1, 1] = 0.5  # half a side to the right: beyond the edge of the image
    proposals, scores = select_level(ANCHORS, logits, deltas, (16, 16), num=4)
    assert proposals.tolist() == [[0, 0, 8, 8], [0, 12, 8, 16], [8, 0, 16, 8]]
    assert scores.tolist() == [2.0, 1.0, -1.0]
    best, _ = select_level(ANCHORS, logits, deltas, (16, 16), num=1)
    assert best.tolist() == [[0, 0, 8, 8]]


def test_a_proposal_outside_the_image_is_dropped():
    deltas = torch.zeros(4, 4)
    deltas[:, 0] = 10.0
    proposals, scores = select_level(ANCHORS, torch.zeros(4), deltas, (16, 16), num=4)
    assert (proposals.shape, scores.shape) == ((0, 4), (0,))


def test_losses_by_hand():
    truth = torch.tensor([[0.0, 0.0, 8.0, 8.0]])  # anchors 0 and 3 match it, the others are background
    logits, deltas = torch.tensor([0.0, 0.0, 0.0, 0.0]), torch.zeros(4, 4)
    deltas[0, 0] = 1.0
    objectness, moved = image_losses(ANCHORS, logits, deltas, truth, torch.Generator().manual_seed(0))
    assert objectness.item() == pytest.approx(math.log(2))
    # Anchor 0: an error of 1 - beta/2 with beta = 1/9. Anchor 3: its centre is 0.5 of 7 off, its width 8/7 too small.
    beta = 1 / 9
    expected = (1 - beta / 2) + (0.5 / 7) ** 2 / (2 * beta) + math.log(8 / 7) - beta / 2
    assert moved.item() == pytest.approx(expected / 4, rel=1e-5)


def test_an_image_without_storms_teaches_background_only():
    deltas = torch.randn(4, 4, requires_grad=True)
    objectness, moved = image_losses(
        ANCHORS, torch.zeros(4), deltas, torch.zeros(0, 4), torch.Generator().manual_seed(0)
    )
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
    assert [len(one) for one in training] == [40, 40]
    assert [len(one) for one in evaluating] == [20, 20]
