# SPDX-License-Identifier: Apache-2.0
"""RoIAlign and non-maximum suppression in plain PyTorch: fixed shapes, every device, no compiler.

    stays_NB = suppress(boxes_NB4, scores_NB, threshold=0.7)
    crops_RC77 = roi_align(levels_NCHW, boxes_NR4, level_NR, scales)

Shape legend: N images, B boxes, R regions, C channels, H x W cells of a feature map, X any leading dimensions,
P = 14 points of a region along one axis, K = 7 cells of a crop along one axis.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ewa_fasterrcnn.model import boxes

CROP_SIZE = 7
"""Cells along a side of what RoIAlign cuts out."""
SAMPLES_PER_CELL = 2
"""Points along a side, at which each of those cells reads the feature map."""
READS_PER_CELL = (2 * SAMPLES_PER_CELL) ** 2
"""Each point interpolates between two rows and two columns."""
BLOCK = 128
"""Boxes that suppression decides on at once."""
ROUNDS = 15
"""Longest chain of suppressions within a block that is followed to its end; odd, so that a longer one is cut safely."""


def suppress(boxes_XB4: Tensor, scores_XB: Tensor, *, threshold: float) -> Tensor:
    """(X, B) bool: the boxes that stay. None of them overlaps a better one that stays by more than `threshold`.

    A score of minus infinity marks an empty row, which neither stays nor suppresses. Boxes are decided block by block,
    the best first. Within a block the definition is applied ROUNDS times, starting from all boxes: each application
    makes one more link of every chain of suppressions right. Of a chain longer than that, boxes in doubt are left out.
    """
    order_XB = scores_XB.argsort(dim=-1, descending=True, stable=True)
    sorted_XB4, is_box_XB = boxes.choose(boxes_XB4, order_XB), scores_XB.gather(-1, order_XB) > -torch.inf
    stays_XB = is_box_XB[..., :0]
    for start in range(0, scores_XB.shape[-1], BLOCK):
        block_XB4, better_XB4 = sorted_XB4[..., start : start + BLOCK, :], sorted_XB4[..., : start + BLOCK, :]
        conflicts = boxes.overlaps(block_XB4, better_XB4) > threshold
        free = is_box_XB[..., start : start + BLOCK] & ~_any_stays(conflicts[..., :start], stays_XB)
        stays_XB = torch.cat([stays_XB, _decide(free, conflicts[..., start:].tril(-1))], dim=-1)
    return torch.empty_like(stays_XB).scatter(-1, order_XB, stays_XB)


def _decide(free_XB: Tensor, conflicts_XBB: Tensor) -> Tensor:
    """Which of a block's boxes stay, given those that no earlier block suppresses, and their conflicts with better."""
    stays_XB = free_XB
    for _ in range(ROUNDS):
        stays_XB = free_XB & ~_any_stays(conflicts_XBB, stays_XB)
    return stays_XB


def _any_stays(conflicts_XBA: Tensor, stays_XA: Tensor) -> Tensor:
    return (conflicts_XBA & stays_XA[..., None, :]).any(dim=-1)


def roi_align(levels_NCHW: list[Tensor], boxes_NR4: Tensor, level_NR: Tensor, scales: list[float]) -> Tensor:
    """(N * R, C, 7, 7): each box's part of one level of feature maps, interpolated and averaged without rounding edges.

    level_NR: the level of each region.  scales: cells per pixel of the image, one for each level.
    Every cell of a crop is a weighted sum of 16 cells of its level, so that one sparse matrix product computes them
    all. Source: He et al., "Mask R-CNN" (2017), section 3; cells have their centres at half-integers (torchvision's
    aligned=True).
    """
    cells_MC = torch.cat([level.permute(0, 2, 3, 1).flatten(0, 2).to(boxes_NR4.dtype) for level in levels_NCHW])
    reads_NRKK, weights_NRKK = _reads(levels_NCHW, boxes_NR4, level_NR, scales)
    shape = (-1, READS_PER_CELL)
    crops_RKKC = _WeightedSums.apply(cells_MC, reads_NRKK.reshape(shape).int(), weights_NRKK.reshape(shape))
    return crops_RKKC.view(-1, CROP_SIZE, CROP_SIZE, cells_MC.shape[1]).permute(0, 3, 1, 2)


def _reads(
    levels_NCHW: list[Tensor], boxes_NR4: Tensor, level_NR: Tensor, scales: list[float]
) -> tuple[Tensor, Tensor]:
    """(N, R, 7, 7, 4, 4) rows of the table of all cells of all levels that each cell of a crop reads, and weights."""
    sizes = [tuple(level.shape[-2:]) for level in levels_NCHW]
    num_images = len(boxes_NR4)
    num_cells = [num_images * height * width for height, width in sizes]
    scaled_NR4 = boxes_NR4 * _by_level(level_NR, scales, boxes_NR4.dtype)[..., None]
    height_NR, width_NR = (_by_level(level_NR, list(sides), torch.long) for sides in zip(*sizes, strict=True))
    first_NR = _by_level(level_NR, [sum(num_cells[:number]) for number in range(len(sizes))], torch.long)
    image_N1 = torch.arange(num_images, device=boxes_NR4.device)[:, None]
    rows_NRK4, row_weights_NRK4 = _axis_reads(scaled_NR4[..., 0::2], height_NR)
    columns_NRK4, column_weights_NRK4 = _axis_reads(scaled_NR4[..., 1::2], width_NR)
    rows_NRK4 = (
        first_NR[..., None, None]
        + (image_N1 * height_NR)[..., None, None] * width_NR[..., None, None]
        + (rows_NRK4 * width_NR[..., None, None])
    )
    reads = rows_NRK4[..., :, None, :, None] + columns_NRK4[..., None, :, None, :]
    return reads, row_weights_NRK4[..., :, None, :, None] * column_weights_NRK4[..., None, :, None, :]


def _axis_reads(edges_NR2: Tensor, num_cells_NR: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis: (N, R, 7, 4) of the cells of the map that each cell of a crop reads, and their weights."""
    num_points = CROP_SIZE * SAMPLES_PER_CELL
    fractions_P = (torch.arange(num_points, device=edges_NR2.device, dtype=edges_NR2.dtype) + 0.5) / num_points
    low_NR1, high_NR1 = edges_NR2[..., :1], edges_NR2[..., 1:]
    places_NRP = low_NR1 + (high_NR1 - low_NR1) * fractions_P - 0.5
    last_NR1 = num_cells_NR[..., None] - 1
    # A map reaches one cell beyond the centres of its outermost cells; farther out it is 0.
    reached_NRP = (places_NRP >= -1) & (places_NRP <= last_NR1 + 1)
    places_NRP = places_NRP.clamp(min=0).minimum(last_NR1.to(places_NRP.dtype))
    lower_NRP = places_NRP.floor()
    share_NRP = places_NRP - lower_NRP
    cells = torch.stack([lower_NRP.long(), (lower_NRP.long() + 1).minimum(last_NR1)], dim=-1)
    weights = torch.stack([1 - share_NRP, share_NRP], dim=-1) * reached_NRP[..., None] / SAMPLES_PER_CELL
    shape = (*edges_NR2.shape[:-1], CROP_SIZE, 2 * SAMPLES_PER_CELL)
    return cells.reshape(shape), weights.reshape(shape)


def _by_level(level_NR: Tensor, values: list[float], dtype: torch.dtype) -> Tensor:
    """The value of each region's level, without a table that would have to be copied to the device."""
    result = torch.full_like(level_NR, values[0], dtype=dtype)
    for number, value in enumerate(values[1:], start=1):
        result = torch.where(level_NR == number, value, result)
    return result


class _WeightedSums(torch.autograd.Function):
    """(S, C) weighted sums of the rows (M, C) of a table, (S, J) of them each: a product with a sparse matrix.

    The gradient is the product with the transposed matrix: the reads are sorted by the row that they read. Both use
    PyTorch's embedding_bag, which is 10 times faster than grid_sample on a CPU and adds in a fixed order everywhere.
    """

    @staticmethod
    def forward(ctx, table_MC: Tensor, rows_SJ: Tensor, weights_SJ: Tensor) -> Tensor:
        ctx.save_for_backward(rows_SJ, weights_SJ)
        ctx.num_rows = len(table_MC)
        return functional.embedding_bag(rows_SJ, table_MC, per_sample_weights=weights_SJ, mode="sum")

    @staticmethod
    def backward(ctx, gradients_SC: Tensor) -> tuple[Tensor, None, None]:
        rows_SJ, weights_SJ = ctx.saved_tensors
        sorted_rows, order = rows_SJ.flatten().sort(stable=True)
        every_row = torch.arange(ctx.num_rows, device=rows_SJ.device, dtype=rows_SJ.dtype)
        starts_M = torch.searchsorted(sorted_rows, every_row, out_int32=True)
        sums = (order // rows_SJ.shape[1]).int()
        weights = weights_SJ.flatten()[order]
        return (
            functional.embedding_bag(sums, gradients_SC.contiguous(), starts_M, per_sample_weights=weights, mode="sum"),
            None,
            None,
        )
