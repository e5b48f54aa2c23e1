# SPDX-License-Identifier: Apache-2.0
"""Two ranks' gradients against one process' with the whole batch: plain, compressed, in small buckets, accumulated."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from harness.distributed.gradient_compression import compress_gradients
from harness.distributed.world import World
from tests.harness.ranks import spawn

BATCH = 8


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 300), nn.Tanh(), nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 1))


def batch_N6() -> torch.Tensor:
    return torch.randn(BATCH, 6, generator=torch.Generator().manual_seed(2))


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters()]


def gradients_alone() -> list[torch.Tensor]:
    model = network()
    model(batch_N6()).square().mean().backward()
    return gradients(model)


def own_samples(world: World) -> torch.Tensor:
    return batch_N6().chunk(world.num_ranks)[world.rank]


def largest_error(found: list[torch.Tensor]) -> float:
    """Tolerance of a gradient, relative to the largest one of its parameter."""
    pairs = zip(found, gradients_alone(), strict=True)
    return max(float((one - expected).abs().max() / expected.abs().max()) for one, expected in pairs)


def every_way_of_exchange(world: World) -> None:
    for compression, tolerance in (("none", 1e-5), ("fp16", 2e-3), ("bf16", 2e-2)):
        for bucket_mebibytes in (25, 0.01):
            model = DistributedDataParallel(network(), bucket_cap_mb=bucket_mebibytes)
            compress_gradients(model, compression)
            for _ in range(2):  # buckets are laid out anew after the first step
                model.zero_grad()
                model(own_samples(world)).square().mean().backward()
            error = largest_error(gradients(model))
            assert error < tolerance, (compression, bucket_mebibytes, error)
            assert compression == "none" or error > 1e-6, "nothing was rounded"


def accumulated(world: World) -> None:
    model = DistributedDataParallel(network())
    parts = own_samples(world).chunk(2)
    for number, part in enumerate(parts):
        with nullcontext() if number == len(parts) - 1 else model.no_sync():
            (model(part).square().mean() / len(parts)).backward()
        if number == 0:
            assert largest_error(gradients(model)) > 1e-3, "exchanged too early"
    assert largest_error(gradients(model)) < 1e-5


def huge_gradients(world: World) -> None:
    """Each rank's is within fp16's range, and so is their mean; their sum is not."""
    model = DistributedDataParallel(nn.Linear(1, 1, bias=False))
    compress_gradients(model, "fp16")
    model(torch.full((1, 1), 60_000.0)).sum().backward()
    assert model.module.weight.grad.item() == pytest.approx(60_000, rel=1e-3)


def all_of_them(world: World) -> None:
    every_way_of_exchange(world)
    accumulated(world)
    huge_gradients(world)


def test_two_ranks_have_the_gradients_of_one_process(tmp_path):
    spawn(all_of_them, 2, tmp_path)
