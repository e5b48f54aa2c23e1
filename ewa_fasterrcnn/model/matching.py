# SPDX-License-Identifier: Apache-2.0
"""Which anchors or proposals learn from which true box, and the sample of them that a loss is taken over.

Shape legend: G true boxes of an image, A candidates (anchors or proposals).
"""

import torch
from torch import Tensor

BACKGROUND = -1
"""The candidate overlaps no true box enough: it is to be told as background."""
IGNORED = -2
"""Neither near a true box nor far from all: no part of a loss."""


def match(overlaps_GA: Tensor, *, foreground: float, background: float, rescue: bool) -> Tensor:
    """(A,) of each candidate's true box, BACKGROUND or IGNORED.

    A candidate takes the box that it overlaps most, where that overlap is at least `foreground`; below `background` it
    is background. `rescue`: a true box's own best candidates take their best box however small the overlap, so that
    no true box is left without. Source: Ren et al., "Faster R-CNN" (2015), section 3.1.2.
    """
    num_truths, num_candidates = overlaps_GA.shape
    if num_truths == 0:
        return overlaps_GA.new_full((num_candidates,), BACKGROUND, dtype=torch.long)
    best_A, matches_A = overlaps_GA.max(dim=0)
    matched_A = best_A >= foreground
    if rescue:
        best_G1 = overlaps_GA.max(dim=1, keepdim=True).values
        matched_A |= ((overlaps_GA == best_G1) & (best_G1 > 0)).any(dim=0)
    unmatched_A = torch.where(best_A < background, BACKGROUND, IGNORED)
    return torch.where(matched_A, matches_A, unmatched_A)


def sample(
    matches_A: Tensor, *, num: int, foreground_share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Indices of at most `num` matched and background candidates, drawn at random: (foreground, background).

    At most `foreground_share` of them are foreground; background fills up what foreground leaves.
    """
    foreground = _draw(matches_A >= 0, int(num * foreground_share), generator)
    background = _draw(matches_A == BACKGROUND, num - len(foreground), generator)
    return foreground, background


def _draw(wanted_A: Tensor, num: int, generator: torch.Generator) -> Tensor:
    indices = wanted_A.nonzero()[:, 0]
    # Drawn on the CPU: the same on every device.
    chosen = torch.randperm(len(indices), generator=generator)[:num]
    return indices[chosen.to(indices.device)]
