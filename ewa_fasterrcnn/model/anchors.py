# SPDX-License-Identifier: Apache-2.0
"""Anchors: the boxes of fixed sizes and shapes, all over the image, that proposals start from."""

import torch
from torch import Tensor

ASPECT_RATIOS = (0.5, 1.0, 2.0)
"""Height / width of the anchors; all three have the area of the square one."""


def cell_anchors(size: float) -> Tensor:
    """(3, 4): the anchors around the origin, one for each aspect ratio."""
    ratios = torch.tensor(ASPECT_RATIOS)
    half_sides = size / 2 * torch.stack([ratios.sqrt(), 1 / ratios.sqrt()], dim=1)
    return torch.cat([-half_sides, half_sides], dim=1)


def level_anchors(map_size: tuple[int, int], image_size: tuple[int, int], cell_anchors_34: Tensor) -> Tensor:
    """(H * W * 3, 4): the anchors of one level, centred on the cells of its feature map, row by row."""
    strides = [image / cells for image, cells in zip(image_size, map_size, strict=True)]
    like = {"device": cell_anchors_34.device, "dtype": cell_anchors_34.dtype}
    centres = [(torch.arange(cells, **like) + 0.5) * stride for cells, stride in zip(map_size, strides, strict=True)]
    centres_HW2 = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1)
    anchors_HW34 = centres_HW2.repeat(1, 1, 2)[:, :, None] + cell_anchors_34
    return anchors_HW34.reshape(-1, 4)
