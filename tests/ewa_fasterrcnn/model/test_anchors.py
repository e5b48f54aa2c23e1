# SPDX-License-Identifier: Apache-2.0
"""Anchors: sizes, shapes and places, worked by hand."""

import pytest
import torch

from ewa_fasterrcnn.model import boxes
from ewa_fasterrcnn.model.anchors import cell_anchors, level_anchors


def test_anchors_of_a_cell_have_one_area_and_three_shapes():
    anchors = cell_anchors(32)
    assert boxes.areas(anchors).tolist() == pytest.approx([1024.0] * 3)
    sides = anchors[:, 2:] - anchors[:, :2]
    assert (sides[:, 0] / sides[:, 1]).tolist() == pytest.approx([0.5, 1.0, 2.0])
    assert anchors[1].tolist() == pytest.approx([-16, -16, 16, 16])


def test_anchors_of_a_level_are_centred_on_its_cells_row_by_row():
    anchors = level_anchors((2, 3), (8, 24), cell_anchors(4))  # strides of 4 rows and 8 columns
    assert anchors.shape == (2 * 3 * 3, 4)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres[::3].tolist() == [[2, 4], [2, 12], [2, 20], [6, 4], [6, 12], [6, 20]]
    assert torch.equal(centres[0], centres[1])
    assert anchors[1].tolist() == pytest.approx([0, 2, 4, 6])


def test_a_level_covers_the_image_whatever_its_rounding():
    anchors = level_anchors((5, 7), (33, 50), cell_anchors(8))
    centres = anchors[:, :2] + anchors[:, 2:]
    assert (centres / 2).min().item() > 0
    assert (centres[:, 0] / 2).max().item() < 33
    assert (centres[:, 1] / 2).max().item() < 50
