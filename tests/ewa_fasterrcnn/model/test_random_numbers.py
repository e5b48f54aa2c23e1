# SPDX-License-Identifier: Apache-2.0
"""Random numbers of images: the published generator's, uniform, and of their own for each seed, epoch and image."""

import torch

from ewa_fasterrcnn.model import random_numbers
from ewa_fasterrcnn.model.random_numbers import epoch_key, image_keys

MASK = 2**64 - 1


def split_mix_64(seed: int, num: int) -> list[int]:
    """SplitMix64 in Python's integers."""
    numbers = []
    for _ in range(num):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(mixed ^ (mixed >> 31))
    return numbers


def test_the_generator_in_python_is_the_published_one():
    assert split_mix_64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_numbers_are_those_of_the_published_generator():
    keys = torch.tensor([0, 5, -3])
    (purpose,) = split_mix_64((0 - 0x9E3779B97F4A7C15) & MASK, 1)  # key 0, purpose 0: the first mixing of 0
    found = random_numbers.random_numbers(keys, 4, purpose=0)
    assert found[0].tolist() == [number & (2**63 - 1) for number in split_mix_64(purpose, 4)]
    assert found.min() >= 0
    assert len(set(found.flatten().tolist())) == 12


def test_each_seed_epoch_image_and_purpose_has_its_own():
    cases = [(1, 1, 1, 0), (2, 1, 1, 0), (1, 2, 1, 0), (1, 1, 2, 0), (1, 1, 1, 1), (1, 1, 1, 0)]
    found = {
        tuple(
            random_numbers.random_numbers(image_keys(epoch_key(seed, epoch), torch.tensor([number])), 2, purpose=p)[
                0
            ].tolist()
        )
        for seed, epoch, number, p in cases
    }
    assert len(found) == 5


def test_they_are_uniform():
    found = random_numbers.random_numbers(torch.arange(10), 10_000, purpose=1).double() / 2**63
    assert abs(found.mean().item() - 0.5) < 5 / (12 * found.numel()) ** 0.5
    assert (found.mean(dim=1) - 0.5).abs().max().item() < 6 / (12 * 10_000) ** 0.5
    correlation = torch.corrcoef(found)
    assert (correlation - torch.eye(10)).abs().max().item() < 0.06
