# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of boxes, as pure functions.

A box is a row of four numbers in pixels, in the order of the data set: ymin, xmin, ymax, xmax. A box covers the points
between its edges, so that [0, 0, 2, 3] has an area of 6. All functions accept any leading dimensions.

Shape legend: A, B boxes; X any leading dimensions, such as the images of a batch.
"""

import math

import torch
from torch import Tensor

LARGEST_GROWTH = math.log(1000 / 16)
"""Bound of the coded growth of a side, so that an untrained network's boxes stay finite."""


def areas(boxes_XB4: Tensor) -> Tensor:
    """(X, B) square pixels."""
    ymin, xmin, ymax, xmax = boxes_XB4.unbind(dim=-1)
    return (ymax - ymin) * (xmax - xmin)


def overlaps(boxes_XA4: Tensor, boxes_XB4: Tensor) -> Tensor:
    """(X, A, B): area of the intersection / area of the union (IoU); 0 if both boxes are empty."""
    columns, rows = boxes_XA4[..., :, None, :].unbind(dim=-1), boxes_XB4[..., None, :, :].unbind(dim=-1)
    height_XAB, width_XAB = (
        (torch.minimum(columns[high], rows[high]) - torch.maximum(columns[low], rows[low])).clamp(min=0)
        for low, high in ((0, 2), (1, 3))
    )
    shared_XAB = height_XAB * width_XAB
    united_XAB = areas(boxes_XA4)[..., :, None] + areas(boxes_XB4)[..., None, :] - shared_XAB
    return torch.where(united_XAB > 0, shared_XAB / united_XAB, 0.0)


def clip(boxes_XB4: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The part of each box inside an image of (height, width)."""
    height, width = image_size
    rows_XB2, columns_XB2 = boxes_XB4[..., 0::2].clamp(0, height), boxes_XB4[..., 1::2].clamp(0, width)
    return torch.stack([rows_XB2, columns_XB2], dim=-1).flatten(-2)


def encode(boxes_XB4: Tensor, anchors_XB4: Tensor, weights: tuple[float, float]) -> Tensor:
    """(X, B, 4) by which each anchor must be shifted and grown to become its box: dy, dx, dh, dw.

    Shifts are in units of the anchor's sides, growths are logarithms; `weights` multiplies shifts and growths.
    Source: Girshick et al., "Rich feature hierarchies" (2014), appendix C.
    """
    box_centres, box_sides = _centres_and_sides(boxes_XB4)
    anchor_centres, anchor_sides = _centres_and_sides(anchors_XB4)
    shifts = weights[0] * (box_centres - anchor_centres) / anchor_sides
    growths = weights[1] * torch.log(box_sides / anchor_sides)
    return torch.cat([shifts, growths], dim=-1)


def decode(deltas_XB4: Tensor, anchors_XB4: Tensor, weights: tuple[float, float]) -> Tensor:
    """The boxes that `encode` was given; growths are bounded."""
    centres, sides = _centres_and_sides(anchors_XB4)
    centres = centres + deltas_XB4[..., :2] / weights[0] * sides
    sides = sides * torch.exp((deltas_XB4[..., 2:] / weights[1]).clamp(max=LARGEST_GROWTH))
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=-1)


def choose(boxes_XB4: Tensor, indices_XS: Tensor) -> Tensor:
    """(X, S, 4): the boxes with these indices."""
    return boxes_XB4.gather(-2, indices_XS[..., None].expand(*indices_XS.shape, 4))


def _centres_and_sides(boxes_XB4: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes_XB4[..., :2] + boxes_XB4[..., 2:]) / 2, boxes_XB4[..., 2:] - boxes_XB4[..., :2]
