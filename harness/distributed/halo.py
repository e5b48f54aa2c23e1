# SPDX-License-Identifier: Apache-2.0
"""Halo exchange: neighboring ranks send each other the planes at their common border while they compute.

    lane = Lane(previous=rank_before, following=rank_after)      # None at an end of the row of ranks
    halos = depart(lane, first_planes, last_planes)              # starts the exchange; the halos have no content yet
    interior = convolve(part)                                    # needs no halo
    before, after = arrive(lane, *halos)                         # waits for the halos

In the backward pass, `arrive` sends the gradients of the halos back, the gradient of the interior is computed, and
`depart` waits for the gradients of the planes that it sent. Halos beyond the first and the last rank are zeros.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(kw_only=True)
class Lane:
    """The connection to the ranks before and after this one; it carries one exchange at a time."""

    previous: int | None
    """Rank before this one, or None."""
    following: int | None
    """Rank after this one, or None."""
    group: dist.ProcessGroup | None = None
    """Process group of the exchange; None for the default group."""
    _works: list[dist.Work] = field(default_factory=list)
    _kept: list[Tensor] = field(default_factory=list)
    """Tensors of the running exchange, which must outlive it."""
    _returning: tuple[Tensor, Tensor] | None = None
    """Gradients of the sent planes, received in the backward pass."""

    def start(self, to_previous: Tensor, to_following: Tensor) -> tuple[Tensor, Tensor]:
        """Send both tensors and receive the neighbors': (from previous, from following), valid after wait().

        All ranks send the same shapes: the tensor from the previous rank has the shape of `to_following`.
        """
        from_previous, from_following = torch.zeros_like(to_following), torch.zeros_like(to_previous)
        self._kept = [to_previous.contiguous(), to_following.contiguous(), from_previous, from_following]
        operations = []
        for peer, sent, received in (
            (self.previous, self._kept[0], from_previous),
            (self.following, self._kept[1], from_following),
        ):
            if peer is not None:
                operations += [dist.P2POp(dist.isend, sent, peer, self.group)] if sent.numel() else []
                operations += [dist.P2POp(dist.irecv, received, peer, self.group)] if received.numel() else []
        self._works = dist.batch_isend_irecv(operations) if operations else []
        return from_previous, from_following

    def wait(self) -> None:
        """Return when all transfers of start() are complete."""
        for work in self._works:
            work.wait()
        self._works, self._kept = [], []


def depart(lane: Lane, first_planes: Tensor, last_planes: Tensor) -> tuple[Tensor, Tensor]:
    """Send the first planes to the previous rank and the last planes to the following one; returns empty halos."""
    return _Depart.apply(lane, first_planes, last_planes)


def arrive(lane: Lane, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """The halos of depart(), with their content."""
    return _Arrive.apply(lane, before, after)


class _Depart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lane: Lane, first_planes: Tensor, last_planes: Tensor) -> tuple[Tensor, Tensor]:
        ctx.lane = lane
        return lane.start(first_planes, last_planes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _before: Tensor, _after: Tensor) -> tuple[None, Tensor, Tensor]:
        ctx.lane.wait()
        (first_gradient, last_gradient), ctx.lane._returning = ctx.lane._returning, None
        return None, first_gradient, last_gradient


class _Arrive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lane: Lane, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        ctx.lane = lane
        lane.wait()
        return before.view_as(before), after.view_as(after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, before_gradient: Tensor, after_gradient: Tensor) -> tuple[None, Tensor, Tensor]:
        # The gradient of a halo belongs to the rank that sent its planes.
        ctx.lane._returning = ctx.lane.start(before_gradient, after_gradient)
        return None, before_gradient, after_gradient
