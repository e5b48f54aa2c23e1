# SPDX-License-Identifier: Apache-2.0
"""The batches of a loader on the training device, copied there while the device computes.

    batches = DeviceBatches(loader, world.device, prepare)
    for epoch in range(num_epochs):
        batches.set_epoch(epoch)
        for volume_NCDHW, target_NT in batches:       # on the device, prepared
            ...

On an accelerator, a batch is copied from pinned memory and prepared on a stream of its own, while the step before it is
still running: asking for a batch never waits for the device. On a CPU, batches are only prepared.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from harness import ranges
from harness.data.loader import Loader

Tensors = tuple[Tensor, ...]


def unchanged(*batch: Tensor) -> Tensors:
    """The batch as it was read."""
    return batch


class DeviceBatches:
    """The batches of a rank's current epoch on its device."""

    def __init__(self, loader: Loader, device: torch.device, prepare: Callable[..., Tensors] = unchanged) -> None:
        """`prepare`: function of the tensors of a batch, which it finds on the device."""
        self._loader, self._device, self._prepare = loader, device, prepare

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self._loader.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Tensors]:
        if self._device.type == "cpu":
            for batch in ranges.each("data", self._loader):
                yield self._prepare(*batch)
            return
        stream = torch.cuda.Stream(self._device)
        for batch in ranges.each("data", self._copied(stream)):
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(stream)
            for tensor in batch:
                tensor.record_stream(current)  # the stream's memory is not reused before the step has read it
            yield batch

    def _copied(self, stream: Any) -> Iterator[Tensors]:
        """The prepared batches, as soon as their copies have been queued on the stream.

        Each is asked for when the step before it has been queued, so that both run at the same time. A reader that
        decodes on the device finds this stream as the current one.
        """
        batches = iter(self._loader)
        while True:
            with torch.cuda.stream(stream):
                batch = next(batches, None)
                if batch is None:
                    return
                prepared = self._prepare(*map(self._to_device, batch))
            yield prepared

    def _to_device(self, tensor: Tensor) -> Tensor:
        """The tensor on the device; the copy does not wait for the device."""
        if tensor.device.type == "cpu" and not tensor.is_pinned():
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)
