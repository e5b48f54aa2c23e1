# SPDX-License-Identifier: Apache-2.0
"""RoIAlign and non-maximum suppression: torchvision's compiled operators where they load, plain PyTorch elsewhere.

    kept = suppress(boxes_B4, scores_B, threshold=0.7)
    crops_RC77 = roi_align(features_CHW, boxes_R4, scale=1 / 4)

Both forms give the same results; the plain one needs no compiler, runs on every device and in every precision.
torchvision's wheel for CUDA fails beside a CPU build of PyTorch with a RuntimeError rather than an ImportError.

Shape legend: B boxes, R regions, C channels, H x W cells of a feature map.
"""

from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from ewa_fasterrcnn.model.boxes import overlaps

CROP_SIZE = 7
"""Cells of a side of what RoIAlign cuts out."""
SAMPLES_PER_CELL = 2
"""Points a side, at which each of those cells reads the feature map."""


def _load_compiled() -> ModuleType | None:
    try:
        from torchvision import ops
    except (ImportError, RuntimeError):
        return None
    return ops


COMPILED = _load_compiled()
"""torchvision.ops, or None."""


def suppress(boxes_B4: Tensor, scores_B: Tensor, *, threshold: float) -> Tensor:
    """Indices of the boxes that stay, best first: none overlaps a better one that stays by more than `threshold`."""
    if COMPILED is not None:
        return COMPILED.nms(boxes_B4[:, [1, 0, 3, 2]], scores_B, threshold)
    return plain_suppress(boxes_B4, scores_B, threshold=threshold)


def suppress_by_group(boxes_B4: Tensor, scores_B: Tensor, groups_B: Tensor, *, threshold: float) -> Tensor:
    """As `suppress`, where only boxes of the same group (class, pyramid level) suppress each other."""
    if len(boxes_B4) == 0:
        return boxes_B4.new_zeros(0, dtype=torch.long)
    # Boxes of different groups are moved apart, farther than any box reaches.
    distance = boxes_B4.max() - boxes_B4.min() + 1
    return suppress(boxes_B4 + groups_B[:, None] * distance, scores_B, threshold=threshold)


def roi_align(features_CHW: Tensor, boxes_R4: Tensor, *, scale: float) -> Tensor:
    """(R, C, 7, 7): each box's part of the feature map, interpolated and averaged without rounding its edges.

    scale: cells a pixel of the image. Source: He et al., "Mask R-CNN" (2017), section 3; cells have their centres at
    half-integers (torchvision's aligned=True).
    """
    if COMPILED is not None:
        rois = [boxes_R4[:, [1, 0, 3, 2]].to(features_CHW.dtype)]
        return COMPILED.roi_align(features_CHW[None], rois, CROP_SIZE, scale, SAMPLES_PER_CELL, aligned=True)
    return plain_roi_align(features_CHW, boxes_R4, scale=scale)


def plain_suppress(boxes_B4: Tensor, scores_B: Tensor, *, threshold: float) -> Tensor:
    """Non-maximum suppression without a loop over boxes.

    A box stays unless a better one that stays overlaps it. Applied to any first guess, that sentence makes the best
    box right, then all that depend on right ones alone: repeated until nothing changes, it gives the one solution,
    after as many rounds as the longest chain of suppressions, which is a handful.
    """
    order = scores_B.argsort(descending=True, stable=True)
    beaten_by_BB = (overlaps(boxes_B4[order], boxes_B4[order]) > threshold).tril(-1).float()
    stays_B = torch.ones(len(order), device=boxes_B4.device)
    while True:
        updated_B = (beaten_by_BB @ stays_B == 0).float()
        if torch.equal(updated_B, stays_B):
            return order[stays_B.bool()]
        stays_B = updated_B


def plain_roi_align(features_CHW: Tensor, boxes_R4: Tensor, *, scale: float) -> Tensor:
    """RoIAlign as one grid_sample over all regions, then an average over each cell's points."""
    num_channels, *map_size = features_CHW.shape
    if len(boxes_R4) == 0:
        return features_CHW.new_zeros(0, num_channels, CROP_SIZE, CROP_SIZE)
    points = [_points(boxes_R4[:, axis::2] * scale, map_size[axis]) for axis in (0, 1)]
    num_points = CROP_SIZE * SAMPLES_PER_CELL
    (y_RP, inside_y_RP), (x_RP, inside_x_RP) = points
    grid_RPP2 = torch.stack(
        [x_RP[:, None, :].expand(-1, num_points, -1), y_RP[:, :, None].expand(-1, -1, num_points)], dim=-1
    )
    grid_1SP2 = grid_RPP2.reshape(1, -1, num_points, 2).to(features_CHW.dtype)
    read_CSP = functional.grid_sample(features_CHW[None], grid_1SP2, padding_mode="border", align_corners=True)[0]
    inside_SP = (inside_y_RP[:, :, None] & inside_x_RP[:, None, :]).reshape(-1, num_points)
    cells = functional.avg_pool2d(read_CSP * inside_SP, SAMPLES_PER_CELL)
    return cells.reshape(num_channels, -1, CROP_SIZE, CROP_SIZE).transpose(0, 1)


def _points(edges_R2: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
    """Along one axis: (R, P) places from -1 to 1 as grid_sample wants them, and whether the map reaches there."""
    num_points = CROP_SIZE * SAMPLES_PER_CELL
    fractions_P = (torch.arange(num_points, device=edges_R2.device, dtype=edges_R2.dtype) + 0.5) / num_points
    low_R1, high_R1 = edges_R2[:, :1], edges_R2[:, 1:]
    places_RP = low_R1 + (high_R1 - low_R1) * fractions_P - 0.5
    # A map reaches one cell beyond the centres of its outermost cells, as in the compiled operator.
    inside_RP = (places_RP >= -1) & (places_RP <= num_cells)
    return places_RP * (2 / max(num_cells - 1, 1)) - 1, inside_RP
