# SPDX-License-Identifier: Apache-2.0
"""The 48 symmetries of the cube: 6 orders of its axes times 8 choices of axes to mirror.

A turned universe has the same cosmology, so that one simulation serves as 48 samples (Open division).
"""

import torch
from torch import Tensor


def random_cube_symmetry(volume_NCDHW: Tensor) -> Tensor:
    """Each sample turned by a symmetry of its own, all 48 equally likely, drawn from torch's default generator.

    The four redshifts of a sample turn alike.
    """
    return torch.stack([_turn(volume_CDHW) for volume_CDHW in volume_NCDHW])


def _turn(volume_CDHW: Tensor) -> Tensor:
    axes = (1 + torch.randperm(3)).tolist()
    mirrored = [axis for axis in (1, 2, 3) if torch.randint(2, ())]
    return volume_CDHW.permute(0, *axes).flip(mirrored)
