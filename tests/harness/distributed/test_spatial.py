# SPDX-License-Identifier: Apache-2.0
"""Partitioned convolution blocks against the same blocks in one process: outputs, gradients, memory."""

from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
from torch import nn

from harness.distributed import spatial
from harness.distributed.spatial import Grid, SpatialError
from harness.distributed.world import World
from tests.harness.ranks import spawn

SIDE = 8


def build(kernel_size: int = 3) -> nn.Sequential:
    """Three blocks that halve the sides, as CosmoFlow's."""
    torch.manual_seed(1)
    channels = (2, 4, 6, 8)
    return nn.Sequential(
        *(
            nn.Sequential(nn.Conv3d(c_in, c_out, kernel_size, padding="same"), nn.LeakyReLU(0.3), nn.MaxPool3d(2))
            for c_in, c_out in pairwise(channels)
        )
    ).double()


def volume() -> torch.Tensor:
    return torch.randn(2, 2, SIDE, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def loss_of(features: torch.Tensor) -> torch.Tensor:
    """Every feature counts differently."""
    return (features.flatten() * torch.linspace(-1, 1, features.numel(), dtype=torch.float64)).sin().sum()


def alone(kernel_size: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Features, input gradient and weight gradients in one process."""
    blocks, whole = build(kernel_size), volume().requires_grad_()
    features = blocks(whole)
    loss_of(features).backward()
    return features.detach(), whole.grad, [parameter.grad for parameter in blocks.parameters()]


def equals_one_process(world: World, shape: tuple[int, ...], kernel_size: int, overlap: bool) -> None:
    features, input_gradient, gradients = alone(kernel_size)
    grid = spatial.grid(shape, world)
    blocks = spatial.partition(build(kernel_size), grid, input_size=SIDE, overlap=overlap)
    part = grid.part(volume()).clone().requires_grad_()
    found = blocks(part)
    assert (found - features).abs().max() < 1e-10
    (loss_of(found) / grid.num_parts).backward()
    assert (part.grad - grid.part(input_gradient)).abs().max() < 1e-10
    for parameter, expected in zip(blocks.parameters(), gradients, strict=True):
        dist.all_reduce(parameter.grad)
        assert (parameter.grad - expected).abs().max() < 1e-10


def cases(world: World, shapes: list[tuple[int, ...]]) -> None:
    for shape in shapes:
        for kernel_size in (3, 2):
            for overlap in (True, False):
                equals_one_process(world, shape, kernel_size, overlap)


def test_two_ranks_equal_one_process(tmp_path):
    spawn(cases, 2, tmp_path, [(2,), (1, 2), (1, 1, 2)])


def test_four_ranks_in_one_and_two_dimensions_equal_one_process(tmp_path):
    spawn(cases, 4, tmp_path, [(4,), (2, 2), (2, 1, 2)])


def saved_bytes(blocks: nn.Module, part: torch.Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass, without the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in blocks.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        blocks(part).sum().backward()
    return sum(storage.nbytes() for address, storage in storages.items() if address not in weights)


def needs_less_memory(world: World) -> None:
    generator = torch.Generator().manual_seed(2)
    whole = torch.randn(1, 2, 32, 32, 32, dtype=torch.float64, generator=generator)
    needed_alone = saved_bytes(build(), whole)
    grid = spatial.grid((2,), world)
    blocks = spatial.partition(build(), grid, input_size=32)
    needed = saved_bytes(blocks, grid.part(whole).clone())
    assert 0.45 < needed / needed_alone < 0.65


def test_two_ranks_keep_about_half_as_much_each(tmp_path):
    spawn(needs_less_memory, 2, tmp_path)


def exchanges_bf16(world: World) -> None:
    grid = spatial.grid((2,), world)
    with torch.autocast("cpu", torch.bfloat16):
        expected = build().float()(volume().float())
        found = spatial.partition(build().float(), grid, input_size=SIDE)(grid.part(volume().float()))
    assert found.dtype == expected.dtype
    assert not torch.equal(found.float(), build().float()(volume().float()))
    assert torch.allclose(found.float(), expected.float(), atol=0.02)


def test_halos_travel_in_bf16_under_autocast(tmp_path):
    spawn(exchanges_bf16, 2, tmp_path)


def test_parts_tile_the_volume():
    whole = torch.arange(4 * 6 * 2).view(1, 1, 4, 6, 2)
    grids = [Grid(shape=(2, 3), rank=rank, num_ranks=12) for rank in range(12)]
    parts = [grid.part(whole) for grid in grids[:6]]
    assert torch.equal(torch.cat([torch.cat(parts[:3], 3), torch.cat(parts[3:], 3)], 2), whole)
    assert [grid.replica for grid in grids] == [0] * 6 + [1] * 6
    assert grids[0].num_replicas == 2
    assert [(grids[number].lane(0).previous, grids[number].lane(0).following) for number in (1, 4, 7)] == [
        (None, 4),
        (1, None),
        (None, 10),
    ]


def test_without_partitioning_nothing_changes():
    blocks, grid = build(), spatial.grid((), World())
    assert spatial.partition(blocks, grid, input_size=SIDE) is blocks
    assert grid.part(volume()).shape == volume().shape
    assert (grid.replica, grid.num_replicas) == (0, 1)


def test_parameters_keep_their_names():
    blocks = spatial.partition(build(), Grid(shape=(2,), num_ranks=2), input_size=SIDE)
    assert blocks.state_dict().keys() == build().state_dict().keys()


def test_ranks_that_fill_no_grid_are_refused():
    with pytest.raises(SpatialError, match=r"\[2, 2\], 4 ranks per sample, and 6 ranks"):
        spatial.grid((2, 2), World(num_ranks=6))


def test_a_side_that_the_grid_does_not_divide_is_refused():
    with pytest.raises(SpatialError, match="divisors of 8"):
        spatial.partition(build(), Grid(shape=(3,), num_ranks=3), input_size=SIDE)


@pytest.mark.parametrize(
    "layer", [nn.Conv3d(2, 2, 3, padding=1, stride=2), nn.MaxPool3d(3, 2), nn.BatchNorm3d(2), nn.Conv3d(2, 2, 3)]
)
def test_layers_that_cannot_be_partitioned_are_refused(layer):
    with pytest.raises(SpatialError, match="cannot be partitioned"):
        spatial.partition(nn.Sequential(layer), Grid(shape=(2,), num_ranks=2), input_size=12)
