# SPDX-License-Identifier: Apache-2.0
"""The exchange of gradients between ranks, which bounds this benchmark: 41 million of them in every step.

    exchange = GradientExchange(model, world, bucket_mebibytes=25, overlap=True, compression="bf16")
    losses = exchange.replica(...)
    losses.sum().backward()
    exchange.finish()                                   # from here on every rank holds the mean gradients
    exchange.traffic.num_all_reduces, exchange.traffic.num_bytes        # of this step

With overlap a bucket of gradients travels while the next is computed (PyTorch's DistributedDataParallel). Without, all
buckets follow one another after the backward pass: slower, and the plain form that the other is measured against.

Source: HPC AI500 V2.0, section 8.3: a hundred all-reduces of 41 million gradients a step bound EWA on 10 Gb/s Ethernet.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from harness.distributed import data_parallel
from harness.distributed.gradient_compression import TYPES, average_rounded
from harness.distributed.world import World

BYTES_PER_MEBIBYTE = 2**20


@dataclass
class Traffic:
    """Counts of this rank's all-reduces. Not a part of the model, which would hold itself by its hook."""

    dtype: torch.dtype | None
    """In which the gradients travel; None: their own."""
    num_all_reduces: int = 0
    """All-reduces of the last step."""
    num_bytes: int = 0
    """Bytes sent in the last step."""
    step_is_over: bool = True

    def count(self, gradients: Tensor) -> None:
        if self.step_is_over:
            self.num_all_reduces = self.num_bytes = 0
            self.step_is_over = False
        self.num_all_reduces += 1
        self.num_bytes += gradients.numel() * (self.dtype or gradients.dtype).itemsize


class GradientExchange:
    """How one rank's gradients become the mean over all ranks; with one rank there is nothing to exchange."""

    def __init__(
        self,
        model: nn.Module,
        world: World,
        *,
        overlap: bool,
        compression: str,
        bucket_mebibytes: float = 25.0,
        **replication: bool,
    ) -> None:
        """`replication`: further arguments of data_parallel.replicate, which exchanges with overlap."""
        self.replica = model
        """The model that the forward pass goes through."""
        self.traffic = Traffic(TYPES.get(compression))
        self._bucket_bytes = int(bucket_mebibytes * BYTES_PER_MEBIBYTE)
        self._num_ranks = world.num_ranks
        self._at_the_end = world.num_ranks > 1 and not overlap
        if world.num_ranks > 1 and overlap:
            self.replica = data_parallel.replicate(model, world, bucket_mebibytes=bucket_mebibytes, **replication)
            self.replica.register_comm_hook(self.traffic, exchange_bucket)

    def finish(self) -> None:
        """Call it after the backward pass: all gradients are the mean over ranks."""
        if self._at_the_end:
            for gradients in self._buckets():
                self._exchange(gradients)
        self.traffic.step_is_over = True

    def _exchange(self, gradients: list[Tensor]) -> None:
        flat = torch.cat([gradient.flatten() for gradient in gradients]) / self._num_ranks
        self.traffic.count(flat)
        flat = flat.to(self.traffic.dtype or flat.dtype)
        dist.all_reduce(flat)
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def _buckets(self) -> Iterator[list[Tensor]]:
        """The gradients in stretches of at most the bucket's size; a larger one is a bucket of its own."""
        bucket, num_bytes = [], 0
        for parameter in self.replica.parameters():
            if parameter.grad is None:
                continue
            if bucket and num_bytes + parameter.grad.nbytes > self._bucket_bytes:
                yield bucket
                bucket, num_bytes = [], 0
            bucket.append(parameter.grad)
            num_bytes += parameter.grad.nbytes
        if bucket:
            yield bucket


def exchange_bucket(traffic: Traffic, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """DistributedDataParallel's communication hook: the mean over the ranks, counted."""
    traffic.count(bucket.buffer())
    if traffic.dtype is None:
        return allreduce_hook(None, bucket)
    return average_rounded(traffic.dtype, bucket)
