# SPDX-License-Identifier: Apache-2.0
"""Boxes: areas, overlaps and the coding of edges, worked by hand."""

import math

import pytest
import torch

from ewa_fasterrcnn.model import boxes


def test_area_is_height_times_width():
    assert boxes.areas(torch.tensor([[0.0, 0.0, 2.0, 3.0], [1.0, 1.0, 1.0, 5.0]])).tolist() == [6.0, 0.0]


def test_overlap_of_two_squares_that_share_a_quarter():
    one, other = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 1.0, 3.0, 3.0]])
    assert boxes.overlaps(one, other).item() == pytest.approx(1 / 7)


def test_overlap_is_1_with_itself_and_0_with_what_only_touches():
    square = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    others = torch.tensor([[0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 4.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    assert boxes.overlaps(square, others).tolist() == [[1.0, 0.0, 0.0]]


def test_empty_boxes_overlap_nothing():
    empty = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    assert boxes.overlaps(empty, empty).item() == 0.0
    assert boxes.overlaps(torch.zeros(0, 4), empty).shape == (0, 1)


def test_clipping_keeps_what_is_inside_an_image_of_height_and_width():
    box = torch.tensor([[-3.0, 5.0, 12.0, 40.0]])
    assert boxes.clip(box, (10, 20)).tolist() == [[0.0, 5.0, 10.0, 20.0]]


def test_coded_edges_by_hand():
    anchor = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    box = torch.tensor([[5.0, 0.0, 25.0, 10.0]])  # centre (15, 5) for (5, 10); sides 20, 10 for 10, 20
    shifts_and_growths = boxes.encode(box, anchor, (1.0, 1.0))[0].tolist()
    assert shifts_and_growths == pytest.approx([1.0, -0.25, math.log(2), -math.log(2)])
    weighted = boxes.encode(box, anchor, (10.0, 5.0))[0].tolist()
    assert weighted == pytest.approx([10.0, -2.5, 5 * math.log(2), -5 * math.log(2)])


def test_decoding_returns_what_was_coded():
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(50, 2, 2, generator=generator, dtype=torch.float64) * 50
    box, anchor = torch.cat([low, low + 1 + low.flip(0)], dim=2).unbind(dim=1)
    coded = boxes.encode(box, anchor, (10.0, 5.0))
    assert torch.allclose(boxes.decode(coded, anchor, (10.0, 5.0)), box)


def test_a_boundless_growth_stays_finite():
    grown = boxes.decode(torch.tensor([[0.0, 0.0, 1e9, 1e9]]), torch.tensor([[0.0, 0.0, 16.0, 16.0]]), (1.0, 1.0))
    assert (grown[:, 2:] - grown[:, :2]).tolist() == [[pytest.approx(1000.0), pytest.approx(1000.0)]]
