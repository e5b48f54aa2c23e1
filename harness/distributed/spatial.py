# SPDX-License-Identifier: Apache-2.0
"""Spatial partitioning: several ranks share each sample, and each of them holds a part of its volume.

    grid = spatial.grid((2, 2), world)                  # 4 ranks per sample: halves in depth times halves in height
    network.blocks = spatial.partition(network.blocks, grid, input_size=128)
    features = network.blocks(grid.part(volume_NCDHW))  # the whole features, on all ranks of the grid

A convolution needs a halo: planes of the neighbors' parts. Halos are exchanged while the interior is computed, and so
are their gradients. Pooling needs no halo. As soon as a part cannot be pooled any further, the features are
gathered, and all ranks of the grid compute the rest redundantly. More ranks can thus train than a global batch has
samples, as on Fugaku (Farrell et al., "MLPerf HPC", SC 2021 workshop, section 4).

Every rank calls backward() on its own copy of the loss. The gradients are those of the sum of these equal losses, so
that their mean over all ranks, as in DistributedDataParallel, is the gradient of the global batch.

Shapes: N samples, C channels, D H W voxels. Axis a of a grid partitions dimension 2 + a.
"""

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from compliance.files.errors import UserError
from harness.distributed.halo import Lane, arrive, depart
from harness.distributed.world import World

FIRST_DIMENSION, NUM_DIMENSIONS = 2, 3


class SpatialError(UserError):
    """A grid of ranks, a volume or a network that does not allow the partitioning."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The consecutive ranks that share a sample, in row-major order, and this rank among them."""

    shape: tuple[int, ...] = ()
    """Parts along depth, height and width; trailing whole dimensions are left out, () means whole samples."""
    rank: int = 0
    """This rank in the world."""
    num_ranks: int = 1
    """Number of ranks in the world."""
    group: dist.ProcessGroup | None = field(default=None, repr=False)
    """Process group of this grid's ranks, for gathering features."""
    halo_group: dist.ProcessGroup | None = field(default=None, repr=False)
    """Their communicator for halos, which neither gathering nor the exchange of gradients can delay."""

    @property
    def num_parts(self) -> int:
        """Number of ranks that share a sample."""
        return prod(self.shape)

    @property
    def replica(self) -> int:
        """Index of this grid among all grids; without partitioning, the rank."""
        return self.rank // self.num_parts

    @property
    def num_replicas(self) -> int:
        """Number of grids; each of them trains on its own samples."""
        return self.num_ranks // self.num_parts

    def place(self, index: int | None = None) -> tuple[int, ...]:
        """Coordinates of a rank in its grid, by its index there; by default, of this rank."""
        index = self.rank % self.num_parts if index is None else index
        return tuple(index // prod(self.shape[axis + 1 :]) % size for axis, size in enumerate(self.shape))

    def lane(self, axis: int) -> Lane:
        """The connection to the neighbors along an axis."""
        at, stride = self.place()[axis], prod(self.shape[axis + 1 :])
        return Lane(
            previous=self.rank - stride if at > 0 else None,
            following=self.rank + stride if at < self.shape[axis] - 1 else None,
            group=self.halo_group,
        )

    def part(self, whole_NCDHW: Tensor, index: int | None = None) -> Tensor:
        """The part of a volume of this rank, or of the rank with the given index; SpatialError if parts are unequal."""
        part = whole_NCDHW
        for axis, (at, size) in enumerate(zip(self.place(index), self.shape, strict=True)):
            side = part.shape[FIRST_DIMENSION + axis]
            if side % size:
                raise SpatialError(f"a side of {side} voxels cannot be cut into {size} equal parts; use a divisor")
            part = part.narrow(FIRST_DIMENSION + axis, at * (side // size), side // size)
        return part


def grid(shape: tuple[int, ...], world: World) -> Grid:
    """This rank's grid; a collective call of all ranks. SpatialError unless the ranks fill whole grids."""
    parts = Grid(shape=tuple(shape), rank=world.rank, num_ranks=world.num_ranks)
    if len(shape) > NUM_DIMENSIONS or any(size < 1 for size in shape):
        raise SpatialError(f"spatial_parts: found {list(shape)}, expected at most 3 whole numbers above 0")
    if world.num_ranks % parts.num_parts:
        raise SpatialError(
            f"spatial_parts: found {list(shape)}, {parts.num_parts} ranks per sample, and {world.num_ranks} ranks; "
            f"launch a multiple of {parts.num_parts}"
        )
    if parts.num_parts == 1:
        return parts
    group, _ = dist.new_subgroups(group_size=parts.num_parts)
    halo_group, _ = dist.new_subgroups(group_size=parts.num_parts)
    return replace(parts, group=group, halo_group=halo_group)


def partition(blocks: nn.Sequential, grid: Grid, *, input_size: int, overlap: bool = True) -> nn.Sequential:
    """The blocks with the same parameters under the same names; their input is a part, their output whole features.

    input_size: voxels along an edge of the whole volume.  overlap: exchange halos while the interior is computed.
    Supported layers: convolutions of stride 1 with padding "same", max pooling with its kernel as stride, ReLUs.
    SpatialError for other layers, and for edges that the grid does not divide.
    """
    if grid.num_parts == 1:
        return blocks
    sides = [input_size // size for size in grid.shape]
    if any(input_size % size for size in grid.shape):
        raise SpatialError(f"spatial_parts: found {list(grid.shape)}, expected divisors of {input_size} voxels")
    layers: list[nn.Module] = []
    num_partitioned = 0
    for block in blocks:
        shrink = prod(_edge(layer) for layer in block.modules() if isinstance(layer, nn.MaxPool3d))
        if num_partitioned == len(layers) and all(side % shrink == 0 for side in sides):
            sides = [side // shrink for side in sides]
            block, num_partitioned = _partitioned(block, grid, overlap), num_partitioned + 1
        layers.append(block)
    return PartitionedBlocks(layers, num_partitioned, grid)


class PartitionedBlocks(nn.Sequential):
    """Blocks of which the first `num_partitioned` compute this rank's part; all ranks compute the others whole."""

    def __init__(self, blocks: list[nn.Module], num_partitioned: int, grid: Grid) -> None:
        """Use `blocks` as they are; the first `num_partitioned` were converted for `grid`."""
        super().__init__(*blocks)
        self.num_partitioned, self.grid = num_partitioned, grid

    def forward(self, part_NCDHW: Tensor) -> Tensor:
        """This rank's part (N, C, D, H, W) -> the features of the whole volume."""
        blocks = list(self)
        for block in blocks[: self.num_partitioned]:
            part_NCDHW = block(part_NCDHW)
        features_NCDHW = _Gather.apply(part_NCDHW, self.grid)
        for block in blocks[self.num_partitioned :]:
            features_NCDHW = block(features_NCDHW)
        return features_NCDHW


class PartitionedConv3d(nn.Conv3d):
    """A convolution that maps this rank's part of the input to this rank's part of the output."""

    def __init__(self, convolution: nn.Conv3d, grid: Grid, overlap: bool) -> None:
        """Take over the parameters of `convolution`."""
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]  # torch stores a tuple of three
            groups=convolution.groups,
            bias=convolution.bias is not None,
            device="meta",
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.grid, self.overlap = grid, overlap
        self.before = [(size - 1) // 2 for size in self.kernel_size]
        """Halo planes before a part in each dimension. As with padding "same", an odd plane is after it."""
        self.after = [size // 2 for size in self.kernel_size]

    def forward(self, part_NCDHW: Tensor) -> Tensor:
        if torch.is_autocast_enabled(part_NCDHW.device.type):  # halves the bytes to send
            part_NCDHW = part_NCDHW.to(torch.get_autocast_dtype(part_NCDHW.device.type))
        *axes, last_axis = (axis for axis, size in enumerate(self.grid.shape) if size > 1)
        for axis in axes:
            part_NCDHW = torch.cat(self._exchange(part_NCDHW, axis), dim=FIRST_DIMENSION + axis)
        return self._overlapped(self._padded(part_NCDHW), last_axis)

    def _exchange(self, part_NCDHW: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
        """(halo before, part, halo after)."""
        lane = self.grid.lane(axis)
        before, after = arrive(lane, *depart(lane, *self._edges(part_NCDHW, axis)))
        return before, part_NCDHW, after

    def _edges(self, part_NCDHW: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """The planes that the previous and the following rank need."""
        dim, side = FIRST_DIMENSION + axis, part_NCDHW.shape[FIRST_DIMENSION + axis]
        num_first, num_last = self.after[axis], self.before[axis]
        return part_NCDHW.narrow(dim, 0, num_first), part_NCDHW.narrow(dim, side - num_last, num_last)

    def _overlapped(self, part_NCDHW: Tensor, axis: int) -> Tensor:
        """The convolution of a part whose halo is missing along one axis."""
        dim, reach = FIRST_DIMENSION + axis, self.kernel_size[axis] - 1
        side = part_NCDHW.shape[dim]
        if not self.overlap or side <= reach:
            return self._convolve(torch.cat(self._exchange(part_NCDHW, axis), dim=dim))
        lane = self.grid.lane(axis)
        halos = depart(lane, *self._edges(part_NCDHW, axis))
        outputs = [self._convolve(part_NCDHW)]
        before, after = arrive(lane, *halos)
        if self.before[axis]:
            first = torch.cat((before, part_NCDHW.narrow(dim, 0, reach)), dim)
            outputs.insert(0, self._convolve(first))
        if self.after[axis]:
            last = torch.cat((part_NCDHW.narrow(dim, side - reach, reach), after), dim)
            outputs.append(self._convolve(last))
        return torch.cat(outputs, dim)

    def _padded(self, part_NCDHW: Tensor) -> Tensor:
        """The part with zeros around its whole dimensions."""
        whole = [axis >= len(self.grid.shape) or self.grid.shape[axis] == 1 for axis in range(NUM_DIMENSIONS)]
        widths = [(b * w, a * w) for b, a, w in zip(self.before, self.after, whole, strict=True)]
        return functional.pad(part_NCDHW, [width for pair in reversed(widths) for width in pair])

    def _convolve(self, padded_NCDHW: Tensor) -> Tensor:
        return functional.conv3d(padded_NCDHW, self.weight, self.bias, groups=self.groups)


def _partitioned(layer: nn.Module, grid: Grid, overlap: bool) -> nn.Module:
    """The layer for a part of the volume; SpatialError if there is none."""
    match layer:
        case nn.Sequential():
            return nn.Sequential(*(_partitioned(inner, grid, overlap) for inner in layer))
        case nn.Conv3d(stride=(1, 1, 1), dilation=(1, 1, 1), padding="same", padding_mode="zeros"):
            return PartitionedConv3d(layer, grid, overlap)
        case nn.MaxPool3d(padding=0, dilation=1) if layer.stride == layer.kernel_size:
            return layer
        case nn.LeakyReLU() | nn.ReLU():
            return layer
    raise SpatialError(f"{layer}: cannot be partitioned")


def _edge(pool: nn.MaxPool3d) -> int:
    """Voxels along an edge of the kernel; SpatialError unless it is a cube."""
    if isinstance(pool.kernel_size, tuple):
        raise SpatialError(f"{pool}: cannot be partitioned; expected one kernel size for all dimensions")
    return pool.kernel_size


class _Gather(torch.autograd.Function):
    """The parts of all ranks of the grid -> the whole, on each of them."""

    @staticmethod
    def forward(ctx: Any, part_NCDHW: Tensor, grid: Grid) -> Tensor:
        ctx.grid = grid
        parts = [torch.empty_like(part_NCDHW, memory_format=torch.contiguous_format) for _ in range(grid.num_parts)]
        dist.all_gather(parts, part_NCDHW.contiguous(), group=grid.group)
        for axis, size in reversed(list(enumerate(grid.shape))):
            rows = range(0, len(parts), size)
            parts = [torch.cat(parts[row : row + size], dim=FIRST_DIMENSION + axis) for row in rows]
        return parts[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_NCDHW: Tensor) -> tuple[Tensor, None]:
        # The ranks' losses are equal, so that the gradient of their sum needs no communication.
        return ctx.grid.part(gradient_NCDHW) * ctx.grid.num_parts, None
