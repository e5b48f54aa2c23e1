# SPDX-License-Identifier: Apache-2.0
"""On a CPU the batches are those of the loader, prepared; the epoch reaches the loader."""

import torch

from harness.data.device_batches import DeviceBatches
from harness.data.loader import Loader
from harness.data.sampler import EpochBatches


def loader() -> Loader:
    batches = EpochBatches(10, batch_size=4, seed=3, shuffle=True)

    class Reader:
        def __iter__(self):
            return ((torch.tensor(indices), torch.tensor(indices) ** 2) for indices in batches)

    return Loader(Reader(), batches)


def test_batches_pass_through_unchanged():
    plain, on_device = loader(), DeviceBatches(loader(), torch.device("cpu"))
    for epoch in (0, 1):
        plain.set_epoch(epoch)
        on_device.set_epoch(epoch)
        assert len(plain) == len(on_device) == 2
        for expected, found in zip(plain, on_device, strict=True):
            assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_batches_are_prepared():
    prepared = DeviceBatches(loader(), torch.device("cpu"), lambda number, square: (square - number, number))
    assert all(torch.equal(difference, number**2 - number) for difference, number in prepared)
