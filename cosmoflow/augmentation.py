# SPDX-License-Identifier: Apache-2.0
"""The 48 symmetries of the cube: 6 orders of its axes times 8 choices of axes to mirror.

A turned universe has the same cosmology, so that one simulation serves as 48 samples (Open division).
"""

from itertools import permutations, product

import torch
from torch import Tensor

SYMMETRIES = tuple(
    (axes, [axis for axis, mirrored in zip((1, 2, 3), choice, strict=True) if mirrored])
    for axes in permutations((1, 2, 3))
    for choice in product((False, True), repeat=3)
)
"""The order of the axes and the mirrored axes of each of the 48 symmetries."""


def random_cube_symmetry(volume_NCDHW: Tensor) -> Tensor:
    """Each sample turned by a symmetry of its own, all 48 equally likely, drawn from torch's default generator.

    The four redshifts of a sample turn alike. The volumes are turned on the device that they are on, and keep their
    memory order. The generator is that of the CPU: the draws are known without waiting for the device.
    """
    turned_NCDHW = torch.empty_like(volume_NCDHW)
    for number, symmetry in enumerate(torch.randint(len(SYMMETRIES), (len(volume_NCDHW),)).tolist()):
        axes, mirrored = SYMMETRIES[symmetry]
        turned_NCDHW[number] = volume_NCDHW[number].permute(0, *axes).flip(mirrored)
    return turned_NCDHW
