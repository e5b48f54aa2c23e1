# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of boxes, as pure functions.

A box is a row of four numbers in pixels, in the order of the data set: ymin, xmin, ymax, xmax. A box covers the points
between its edges, so that [0, 0, 2, 3] has an area of 6.

Shape legend: A, B boxes.
"""

import math

import torch
from torch import Tensor

LARGEST_GROWTH = math.log(1000 / 16)
"""Bound of the coded growth of a side, so that an untrained network's boxes stay finite."""


def areas(boxes_B4: Tensor) -> Tensor:
    """(B,) of square pixels."""
    return (boxes_B4[:, 2:] - boxes_B4[:, :2]).prod(dim=1)


def overlaps(boxes_A4: Tensor, boxes_B4: Tensor) -> Tensor:
    """(A, B): area of the intersection / area of the union (IoU); 0 where both boxes are empty."""
    corner_low = torch.maximum(boxes_A4[:, None, :2], boxes_B4[None, :, :2])
    corner_high = torch.minimum(boxes_A4[:, None, 2:], boxes_B4[None, :, 2:])
    shared_AB = (corner_high - corner_low).clamp(min=0).prod(dim=2)
    united_AB = areas(boxes_A4)[:, None] + areas(boxes_B4)[None, :] - shared_AB
    return torch.where(united_AB > 0, shared_AB / united_AB, 0.0)


def clip(boxes_B4: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The part of each box inside an image of (height, width)."""
    height, width = image_size
    limit_4 = boxes_B4.new_tensor([height, width, height, width])
    return boxes_B4.clamp(min=0).minimum(limit_4)


def encode(boxes_B4: Tensor, anchors_B4: Tensor, weights: tuple[float, float]) -> Tensor:
    """(B, 4) by which each anchor must be shifted and grown to become its box: dy, dx, dh, dw.

    Shifts are in units of the anchor's sides, growths are logarithms; `weights` multiplies shifts and growths.
    Source: Girshick et al., "Rich feature hierarchies" (2014), appendix C.
    """
    box_centres, box_sides = _centres_and_sides(boxes_B4)
    anchor_centres, anchor_sides = _centres_and_sides(anchors_B4)
    shifts = weights[0] * (box_centres - anchor_centres) / anchor_sides
    growths = weights[1] * torch.log(box_sides / anchor_sides)
    return torch.cat([shifts, growths], dim=1)


def decode(deltas_B4: Tensor, anchors_B4: Tensor, weights: tuple[float, float]) -> Tensor:
    """The boxes that `encode` was given; growths are bounded."""
    centres, sides = _centres_and_sides(anchors_B4)
    centres = centres + deltas_B4[:, :2] / weights[0] * sides
    sides = sides * torch.exp((deltas_B4[:, 2:] / weights[1]).clamp(max=LARGEST_GROWTH))
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=1)


def _centres_and_sides(boxes_B4: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes_B4[:, :2] + boxes_B4[:, 2:]) / 2, boxes_B4[:, 2:] - boxes_B4[:, :2]
