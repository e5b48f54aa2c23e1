# SPDX-License-Identifier: Apache-2.0
"""Halo exchange: planes that neighbouring ranks need of each other, sent while something else is computed.

    lane = Lane(previous=rank_before, following=rank_after)      # None at an end of the row of ranks
    halos = depart(lane, first_planes, last_planes)              # sends; the halos are not there yet
    interior = convolve(part)                                    # what needs no halo
    before, after = arrive(lane, *halos)                         # waits

autograd runs this backwards: `arrive` sends the halos' gradients home, the interior's gradient is computed, `depart`
waits for the gradients of the planes that it had sent. Beyond the first and the last rank the planes are zeros.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(kw_only=True)
class Lane:
    """One exchange at a time with the ranks before and after this one."""

    previous: int | None
    """Rank before this one, None where there is none."""
    following: int | None
    """Rank after this one, None where there is none."""
    _works: list[dist.Work] = field(default_factory=list)
    _kept: list[Tensor] = field(default_factory=list)
    """What is on its way: it must outlive the exchange."""
    _returning: tuple[Tensor, Tensor] | None = None

    def start(self, to_previous: Tensor, to_following: Tensor) -> tuple[Tensor, Tensor]:
        """Send both, and receive what the neighbours send: (from previous, from following), whole after wait().

        All ranks send the same shapes, so that what comes from the previous rank is shaped like `to_following`.
        """
        from_previous, from_following = torch.zeros_like(to_following), torch.zeros_like(to_previous)
        self._kept = [to_previous.contiguous(), to_following.contiguous(), from_previous, from_following]
        operations = []
        for peer, sent, received in (
            (self.previous, self._kept[0], from_previous),
            (self.following, self._kept[1], from_following),
        ):
            if peer is not None:
                operations += [dist.P2POp(dist.isend, sent, peer)] if sent.numel() else []
                operations += [dist.P2POp(dist.irecv, received, peer)] if received.numel() else []
        self._works = dist.batch_isend_irecv(operations) if operations else []
        return from_previous, from_following

    def wait(self) -> None:
        """Return when everything that start() sent and received is there."""
        for work in self._works:
            work.wait()
        self._works, self._kept = [], []


def depart(lane: Lane, first_planes: Tensor, last_planes: Tensor) -> tuple[Tensor, Tensor]:
    """Send this rank's first planes to the previous rank and its last ones to the following; the halos to come."""
    return _Depart.apply(lane, first_planes, last_planes)


def arrive(lane: Lane, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """The halos that depart() promised, now there."""
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
        (of_first_planes, of_last_planes), ctx.lane._returning = ctx.lane._returning, None
        return None, of_first_planes, of_last_planes


class _Arrive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lane: Lane, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        ctx.lane = lane
        lane.wait()
        return before.view_as(before), after.view_as(after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, before_gradient: Tensor, after_gradient: Tensor) -> tuple[None, Tensor, Tensor]:
        # A halo's gradient belongs to the rank that sent the planes.
        ctx.lane._returning = ctx.lane.start(before_gradient, after_gradient)
        return None, before_gradient, after_gradient
