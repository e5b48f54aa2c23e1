# SPDX-License-Identifier: Apache-2.0
"""Which anchors or proposals learn from which true box, and the sample of them that a loss is taken over.

All shapes are fixed by the image's size and the hyperparameters, so that no operation waits for the device: a sample
has as many slots as candidates may be drawn, and masks say which slots are filled.

Shape legend: N images, G rows of true boxes, A candidates (anchors or proposals), S slots of the sample.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ewa_fasterrcnn.model import boxes

SMOOTH_L1_BETA = 1 / 9
"""Error of a delta at which its loss turns from a square into a line."""
BACKGROUND = -1
"""The candidate overlaps no true box enough: it is to be told as background."""
IGNORED = -2
"""Neither near a true box nor far from all: no part of a loss."""


class Sample(NamedTuple):
    """Candidates drawn at random: foreground first, then background, then empty slots."""

    indices_NS: Tensor
    is_foreground_NS: Tensor
    is_filled_NS: Tensor
    """False for a slot that no candidate was left for; its index means nothing."""

    def num_filled_N(self) -> Tensor:
        """(N,) filled slots of each image, at least 1: the denominator of its losses."""
        return self.is_filled_NS.sum(dim=1).clamp(min=1)


def match(overlaps_NGA: Tensor, *, foreground: float, background: float, rescue: bool) -> Tensor:
    """(N, A) of each candidate's true box, BACKGROUND or IGNORED.

    A candidate matches the box that it overlaps most, if that overlap is at least `foreground`; below `background` it
    is background. `rescue`: a true box's own best candidates match their best box however small the overlap, so that
    no true box is left without. An unused row of boxes has no area, therefore overlaps nothing and matches nothing.
    Source: Ren et al., "Faster R-CNN" (2015), section 3.1.2.
    """
    best_NA, matches_NA = overlaps_NGA.max(dim=1)
    is_matched_NA = best_NA >= foreground
    if rescue:
        best_NG1 = overlaps_NGA.amax(dim=2, keepdim=True)
        is_matched_NA |= ((overlaps_NGA == best_NG1) & (best_NG1 > 0)).any(dim=1)
    unmatched_NA = torch.where(best_NA < background, BACKGROUND, IGNORED)
    return torch.where(is_matched_NA, matches_NA, unmatched_NA)


def sample(matches_NA: Tensor, random_NA: Tensor, *, num: int, foreground_share: float) -> Sample:
    """At most `num` matched and background candidates of each image: those with the largest random numbers.

    At most `foreground_share` of them are foreground; background fills up what foreground leaves. random_NA: integers
    from 0 upwards.
    """
    foreground = _largest(matches_NA >= 0, random_NA, int(num * foreground_share))
    background = _largest(matches_NA == BACKGROUND, random_NA, num)
    indices, is_filled = (torch.cat(columns, dim=1) for columns in zip(foreground, background, strict=True))
    filled_first = (~is_filled).byte().argsort(dim=1, stable=True)[:, :num]
    is_filled_NS = is_filled.gather(1, filled_first)
    is_foreground_NS = is_filled_NS & (filled_first < foreground[0].shape[1])
    return Sample(indices.gather(1, filled_first), is_foreground_NS, is_filled_NS)


def move_losses(
    deltas_NS4: Tensor,
    starts_NS4: Tensor,
    truths_NG4: Tensor,
    matches_NA: Tensor,
    sampled: Sample,
    code_weights: tuple[float, float],
) -> Tensor:
    """(N,) smooth L1 of the foreground's deltas, which should move its boxes onto the true ones, per filled slot.

    deltas_NS4, starts_NS4: of the sampled candidates.  Other slots want what they have: no loss and no gradient.
    """
    matches_NS = matches_NA.gather(1, sampled.indices_NS).clamp(min=0)
    wanted_NS4 = boxes.encode(boxes.choose(truths_NG4, matches_NS), starts_NS4, code_weights)
    wanted_NS4 = torch.where(sampled.is_foreground_NS[..., None], wanted_NS4, deltas_NS4.detach())
    losses_NS4 = functional.smooth_l1_loss(deltas_NS4, wanted_NS4, beta=SMOOTH_L1_BETA, reduction="none")
    return losses_NS4.sum(dim=(1, 2)) / sampled.num_filled_N()


def _largest(wanted_NA: Tensor, random_NA: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Indices of the wanted candidates with the largest numbers, and which of these slots are filled."""
    numbers, indices = torch.where(wanted_NA, random_NA, -1).topk(min(num, wanted_NA.shape[1]), dim=1)
    return indices, numbers >= 0
