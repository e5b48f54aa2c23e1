# SPDX-License-Identifier: Apache-2.0
import itertools

import torch

from cosmoflow.augmentation import random_cube_symmetry


def all_symmetries(volume_CDHW):
    """Written out: every order of the three axes, each with every choice of mirrored ones."""
    for axes in itertools.permutations((1, 2, 3)):
        for mirrored in itertools.product((False, True), repeat=3):
            flipped = [axis for axis, mirror in zip((1, 2, 3), mirrored, strict=True) if mirror]
            yield volume_CDHW.permute(0, *axes).flip(flipped)


def as_key(volume_CDHW) -> bytes:
    return volume_CDHW.contiguous().numpy().tobytes()


def test_all_48_symmetries_come_up_about_equally_often():
    volume_CDHW = torch.arange(2 * 3 * 3 * 3, dtype=torch.int16).reshape(2, 3, 3, 3)
    expected = {as_key(turned) for turned in all_symmetries(volume_CDHW)}
    assert len(expected) == 48
    torch.manual_seed(0)
    turned_NCDHW = random_cube_symmetry(volume_CDHW.expand(4800, 2, 3, 3, 3))
    counts = dict.fromkeys(expected, 0)
    for turned_CDHW in turned_NCDHW:
        counts[as_key(turned_CDHW)] += 1
    assert min(counts.values()) > 50
    assert max(counts.values()) < 150


def test_samples_turn_independently_of_each_other():
    torch.manual_seed(0)
    volume_NCDHW = torch.arange(27, dtype=torch.int16).reshape(1, 1, 3, 3, 3).expand(8, 1, 3, 3, 3)
    assert len({as_key(turned) for turned in random_cube_symmetry(volume_NCDHW)}) > 1
