# SPDX-License-Identifier: Apache-2.0
"""Random numbers for the candidates of an image, computed on its device without a generator's state.

    keys_N = image_keys(epoch_key(seed, epoch, device), numbers_N)
    numbers_NA = random_numbers(keys_N, num_anchors, purpose=ANCHORS)

They follow from the run's seed, the epoch and the image alone, bit for bit on every device, so that an image draws the
same candidates on whichever rank it is, and a captured CUDA graph draws new ones in every replay.

Source: Steele et al., "Fast splittable pseudorandom number generators" (2014): SplitMix64.
Shape legend: N images, A candidates.
"""

import numpy as np
import torch
from torch import Tensor

GOLDEN_GAMMA = 0x9E3779B97F4A7C15 - 2**64
"""Step of SplitMix64's counter; the constants are 64 bits, in torch's signed integers."""
FIRST_FACTOR, SECOND_FACTOR = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
LARGEST = 2**63 - 1
ANCHORS, REGIONS = 0, 1
"""Purposes: the two draws of an image are independent."""


def epoch_key(seed: int, epoch: int, device: torch.device | None = None) -> Tensor:
    """(): the key of an epoch, made on the host once an epoch."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    return torch.tensor(int(state[0] >> 1), device=device)


def image_keys(epoch_key: Tensor, numbers_N: Tensor) -> Tensor:
    """(N,) keys of the images with these numbers in their split."""
    return _mix(epoch_key + numbers_N * GOLDEN_GAMMA)


def random_numbers(keys_N: Tensor, num: int, *, purpose: int) -> Tensor:
    """(N, num) integers from 0 to 2^63 - 1, uniform."""
    counters_A = torch.arange(1, num + 1, device=keys_N.device) * GOLDEN_GAMMA
    return _mix(_mix(keys_N + purpose)[:, None] + counters_A) & LARGEST


def _mix(state: Tensor) -> Tensor:
    state = (state ^ _shift_right(state, 30)) * FIRST_FACTOR
    state = (state ^ _shift_right(state, 27)) * SECOND_FACTOR
    return state ^ _shift_right(state, 31)


def _shift_right(state: Tensor, num_bits: int) -> Tensor:
    """Shift in zeros; torch's own shift copies the sign."""
    return (state >> num_bits) & ((1 << (64 - num_bits)) - 1)
