# SPDX-License-Identifier: Apache-2.0
"""The region proposal network: where in the image might a storm be, of whatever kind?

At every cell of every pyramid level it judges three anchors: is there something (objectness), and how must the anchor
move to enclose it (deltas). The best of them, moved and thinned out, are the proposals.

Shape legend: N images, A anchors of all levels of an image, L levels, P proposals, G rows of true boxes, S sampled
anchors.
Source: Ren et al., "Faster R-CNN" (2015), section 3; on a pyramid as in Lin et al. (2017), section 4.1.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ewa_fasterrcnn.model import boxes
from ewa_fasterrcnn.model.anchors import ASPECT_RATIOS, cell_anchors, level_anchors
from ewa_fasterrcnn.model.matching import match, move_losses, sample
from ewa_fasterrcnn.model.roi_ops import suppress

CODE_WEIGHTS = (1.0, 1.0)
FOREGROUND_OVERLAP = 0.7
BACKGROUND_OVERLAP = 0.3
SAMPLED_ANCHORS = 256
FOREGROUND_SHARE = 0.5
SUPPRESSION_OVERLAP = 0.7
SMALLEST_SIDE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Outputs of the network for every anchor of a batch."""

    anchors_A4: Tensor
    """The anchors, which all images share."""
    level_sizes: list[int]
    """Anchors of each level, in their order."""
    objectness_NA: Tensor
    """Logits of there being something."""
    deltas_NA4: Tensor
    """Coded moves of the anchors."""


class Proposals(NamedTuple):
    """The proposals of a batch, the best of each image first."""

    boxes_NP4: Tensor
    is_filled_NP: Tensor
    """False for the last rows of an image with fewer proposals than others; their boxes mean nothing."""


class RegionProposals(nn.Module):
    """A 3x3 convolution and two 1x1 ones, which all levels share.

    anchor_sizes: pixels, one for each level.  num_proposals: of an image, and of each of its levels before they are
    joined; training uses twice as many.
    """

    def __init__(self, *, num_channels: int = 256, anchor_sizes: tuple[float, ...], num_proposals: int = 1000) -> None:
        super().__init__()
        self.num_proposals = num_proposals
        self.shared = nn.Conv2d(num_channels, num_channels, 3, padding=1)
        self.objectness = nn.Conv2d(num_channels, len(ASPECT_RATIOS), 1)
        self.deltas = nn.Conv2d(num_channels, 4 * len(ASPECT_RATIOS), 1)
        cells_L34 = torch.stack([cell_anchors(size) for size in anchor_sizes])
        self.register_buffer("cell_anchors_L34", cells_L34, persistent=False)
        for layer in (self.shared, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, pyramid: list[Tensor], image_size: tuple[int, int]) -> Judged:
        objectness, deltas, anchors = [], [], []
        for level_NCHW, cells_34 in zip(pyramid, self.cell_anchors_L34, strict=True):
            shared_NCHW = functional.relu(self.shared(level_NCHW))
            # Cells row by row, the anchors of a cell together: the order of level_anchors.
            objectness.append(self.objectness(shared_NCHW).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.deltas(shared_NCHW).permute(0, 2, 3, 1).reshape(len(level_NCHW), -1, 4))
            anchors.append(level_anchors(level_NCHW.shape[-2:], image_size, cells_34))
        anchors_A4 = torch.cat(anchors)
        return Judged(
            anchors_A4=anchors_A4,
            level_sizes=[len(level) for level in anchors],
            objectness_NA=torch.cat(objectness, dim=1).to(anchors_A4.dtype),
            deltas_NA4=torch.cat(deltas, dim=1).to(anchors_A4.dtype),
        )

    @torch.no_grad()
    def select(self, judged: Judged, image_size: tuple[int, int]) -> Proposals:
        """The best proposals of each image that no better one suppresses."""
        num = self.num_proposals * (2 if self.training else 1)
        levels = zip(
            judged.anchors_A4.split(judged.level_sizes),
            judged.objectness_NA.split(judged.level_sizes, dim=1),
            judged.deltas_NA4.split(judged.level_sizes, dim=1),
            strict=True,
        )
        return select([best_of_level(*level, image_size, num=num) for level in levels], num=num)


def best_of_level(
    anchors_A4: Tensor, objectness_NA: Tensor, deltas_NA4: Tensor, image_size: tuple[int, int], *, num: int
) -> tuple[Tensor, Tensor]:
    """The `num` best anchors of a level, moved and clipped, and their logits: minus infinity if nothing is left."""
    scores_NP, best_NP = objectness_NA.topk(min(num, len(anchors_A4)), dim=1)
    proposals_NP4 = boxes.decode(boxes.choose(deltas_NA4, best_NP), anchors_A4[best_NP], CODE_WEIGHTS)
    proposals_NP4 = boxes.clip(proposals_NP4, image_size)
    has_area_NP = (proposals_NP4[..., 2:] - proposals_NP4[..., :2] >= SMALLEST_SIDE).all(dim=-1)
    return proposals_NP4, torch.where(has_area_NP, scores_NP, -torch.inf)


def select(levels: list[tuple[Tensor, Tensor]], *, num: int) -> Proposals:
    """Thin out each level's boxes by their scores, then keep the `num` best of all levels."""
    longest = max(scores_NP.shape[1] for _, scores_NP in levels)
    padded = [_pad(*level, longest) for level in levels]
    boxes_NLP4, scores_NLP = (torch.stack(column, dim=1) for column in zip(*padded, strict=True))
    stays_NLP = suppress(boxes_NLP4, scores_NLP, threshold=SUPPRESSION_OVERLAP)
    scores_NP = torch.where(stays_NLP, scores_NLP, -torch.inf).flatten(1)
    scores_NP, best_NP = (column[:, :num] for column in scores_NP.sort(dim=1, descending=True, stable=True))
    return Proposals(boxes.choose(boxes_NLP4.flatten(1, 2), best_NP), scores_NP > -torch.inf)


def _pad(boxes_NP4: Tensor, scores_NP: Tensor, length: int) -> tuple[Tensor, Tensor]:
    num_rows = length - scores_NP.shape[1]
    return functional.pad(boxes_NP4, (0, 0, 0, num_rows)), functional.pad(scores_NP, (0, num_rows), value=-torch.inf)


def proposal_losses(judged: Judged, truths_NG4: Tensor, random_NA: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) binary cross entropy and smooth L1 of each image, both divided by the number of its sampled anchors.

    truths_NG4: true boxes; unused rows have no area.  random_NA: the anchors with the largest numbers are sampled.
    """
    overlaps_NGA = boxes.overlaps(truths_NG4, judged.anchors_A4)
    matches_NA = match(overlaps_NGA, foreground=FOREGROUND_OVERLAP, background=BACKGROUND_OVERLAP, rescue=True)
    sampled = sample(matches_NA, random_NA, num=SAMPLED_ANCHORS, foreground_share=FOREGROUND_SHARE)
    logits_NS = judged.objectness_NA.gather(1, sampled.indices_NS)
    objectness_NS = functional.binary_cross_entropy_with_logits(
        logits_NS, sampled.is_foreground_NS.to(logits_NS.dtype), weight=sampled.is_filled_NS, reduction="none"
    )
    deltas_NS4, anchors_NS4 = boxes.choose(judged.deltas_NA4, sampled.indices_NS), judged.anchors_A4[sampled.indices_NS]
    moves_N = move_losses(deltas_NS4, anchors_NS4, truths_NG4, matches_NA, sampled, CODE_WEIGHTS)
    return objectness_NS.sum(dim=1) / sampled.num_filled_N(), moves_N
