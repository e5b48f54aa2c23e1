# SPDX-License-Identifier: Apache-2.0
"""Gradients rounded on their way between two gloo ranks are the ranks' mean, rounded."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from harness.distributed.gradient_compression import compress_gradients
from harness.distributed.world import World
from tests.harness.ranks import spawn

NUM_RANKS = 2
KINDS = ("none", "bf16", "fp16")
LARGE = 60_000.0
"""Two ranks' sum exceeds what fp16 can hold, their mean does not."""


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 300), nn.Tanh(), nn.Linear(300, 3))


def batch(rank: int) -> torch.Tensor:
    torch.manual_seed(10 + rank)
    return torch.randn(4, 20)


def gradients(model: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    model(inputs).square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def on_rank(world: World, folder: Path) -> None:
    found = {}
    for kind in KINDS:
        model = DistributedDataParallel(network(), bucket_cap_mb=0.005)  # several buckets
        compress_gradients(model, kind)
        found[kind] = gradients(model, batch(world.rank))
    large = DistributedDataParallel(nn.Linear(1, 1, bias=False))
    compress_gradients(large, "fp16")
    large(torch.full((1, 1), LARGE)).sum().backward()
    found["large"] = [large.module.weight.grad]
    torch.save(found, folder / f"rank_{world.rank}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    spawn(on_rank, NUM_RANKS, folder, folder)
    return [torch.load(Path(folder, f"rank_{rank}.pt")) for rank in range(NUM_RANKS)]


@pytest.fixture(scope="module")
def expected() -> list[torch.Tensor]:
    each = [gradients(network(), batch(rank)) for rank in range(NUM_RANKS)]
    return [torch.stack(pair).mean(dim=0) for pair in zip(*each, strict=True)]


@pytest.mark.parametrize(("kind", "digits"), [("none", 1e-6), ("bf16", 2**-7), ("fp16", 2**-10)])
def test_gradients_are_the_mean_within_the_types_rounding(found, expected, kind, digits):
    for gradient, mean in zip(found[0][kind], expected, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - mean).norm() <= digits * mean.norm()


@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_what_arrives_has_travelled_in_the_type(found, kind, dtype):
    for gradient in found[0][kind]:
        assert torch.equal(gradient, gradient.to(dtype).float())
    assert any(not torch.equal(a, b) for a, b in zip(found[0][kind], found[0]["none"], strict=True))


def test_all_ranks_get_the_same(found):
    for kind in KINDS:
        assert all(torch.equal(a, b) for a, b in zip(found[0][kind], found[1][kind], strict=True))


def test_a_sum_beyond_fp16_does_not_overflow(found):
    assert float(found[0]["large"][0]) == pytest.approx(LARGE, rel=1e-3)
