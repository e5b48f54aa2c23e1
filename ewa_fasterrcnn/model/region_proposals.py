# SPDX-License-Identifier: Apache-2.0
"""The region proposal network: where in the image might a storm be, of whatever kind?

At every cell of every pyramid level it judges three anchors: is there something (objectness), and how must the anchor
move to enclose it (deltas). The best of them, moved and thinned out, are the proposals.

Shape legend: N images, A anchors of all levels of an image, P proposals, G true boxes.
Source: Ren et al., "Faster R-CNN" (2015), section 3; on a pyramid as in Lin et al. (2017), section 4.1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ewa_fasterrcnn.model import boxes
from ewa_fasterrcnn.model.anchors import ASPECT_RATIOS, level_anchors
from ewa_fasterrcnn.model.matching import match, sample
from ewa_fasterrcnn.model.roi_ops import suppress

CODE_WEIGHTS = (1.0, 1.0)
FOREGROUND_OVERLAP = 0.7
BACKGROUND_OVERLAP = 0.3
SAMPLED_ANCHORS = 256
FOREGROUND_SHARE = 0.5
SUPPRESSION_OVERLAP = 0.7
SMALLEST_SIDE = 1e-3
SMOOTH_L1_BETA = 1 / 9
"""Error of a delta at which its loss turns from a square into a line."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the network says of every anchor of a batch."""

    anchors_A4: Tensor
    """The anchors, which all images share."""
    level_sizes: list[int]
    """Anchors of each level, in their order."""
    objectness_NA: Tensor
    """Logits of there being something."""
    deltas_NA4: Tensor
    """Coded moves of the anchors."""


class RegionProposals(nn.Module):
    """A 3x3 convolution and two 1x1 ones, which all levels share.

    anchor_sizes: pixels, one a level.  num_proposals: of an image, and of each of its levels before they are joined;
    training takes twice as many.
    """

    def __init__(self, *, num_channels: int = 256, anchor_sizes: tuple[float, ...], num_proposals: int = 1000) -> None:
        super().__init__()
        self.anchor_sizes, self.num_proposals = anchor_sizes, num_proposals
        self.shared = nn.Conv2d(num_channels, num_channels, 3, padding=1)
        self.objectness = nn.Conv2d(num_channels, len(ASPECT_RATIOS), 1)
        self.deltas = nn.Conv2d(num_channels, 4 * len(ASPECT_RATIOS), 1)
        for layer in (self.shared, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, pyramid: list[Tensor], image_size: tuple[int, int]) -> Judged:
        objectness, deltas, anchors = [], [], []
        for level_NCHW, size in zip(pyramid, self.anchor_sizes, strict=True):
            shared_NCHW = functional.relu(self.shared(level_NCHW))
            # Cells row by row, the anchors of a cell together: the order of level_anchors.
            objectness.append(self.objectness(shared_NCHW).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.deltas(shared_NCHW).permute(0, 2, 3, 1).reshape(len(level_NCHW), -1, 4))
            anchors.append(level_anchors(level_NCHW.shape[-2:], image_size, size, device=level_NCHW.device))
        return Judged(
            anchors_A4=torch.cat(anchors),
            level_sizes=[len(level) for level in anchors],
            objectness_NA=torch.cat(objectness, dim=1).float(),
            deltas_NA4=torch.cat(deltas, dim=1).float(),
        )

    @torch.no_grad()
    def select(self, judged: Judged, image_size: tuple[int, int]) -> list[Tensor]:
        """(P, 4) proposals of each image, the best first."""
        num = self.num_proposals * (2 if self.training else 1)
        anchors = judged.anchors_A4.split(judged.level_sizes)
        selected = []
        for objectness_A, deltas_A4 in zip(judged.objectness_NA, judged.deltas_NA4, strict=True):
            levels = zip(
                anchors, objectness_A.split(judged.level_sizes), deltas_A4.split(judged.level_sizes), strict=True
            )
            proposals, scores = zip(*(select_level(*level, image_size, num=num) for level in levels), strict=True)
            best = torch.cat(scores).argsort(descending=True, stable=True)[:num]
            selected.append(torch.cat(proposals)[best])
        return selected


def select_level(
    anchors_A4: Tensor, objectness_A: Tensor, deltas_A4: Tensor, image_size: tuple[int, int], *, num: int
) -> tuple[Tensor, Tensor]:
    """At most `num` proposals of one level, inside the image and with an extent, and their logits."""
    scores_P, best_P = objectness_A.topk(min(num, len(objectness_A)))
    proposals_P4 = boxes.clip(boxes.decode(deltas_A4[best_P], anchors_A4[best_P], CODE_WEIGHTS), image_size)
    extended_P = (proposals_P4[:, 2:] - proposals_P4[:, :2] >= SMALLEST_SIDE).all(dim=1)
    proposals_P4, scores_P = proposals_P4[extended_P], scores_P[extended_P]
    kept = suppress(proposals_P4, scores_P, threshold=SUPPRESSION_OVERLAP)
    return proposals_P4[kept], scores_P[kept]


def proposal_losses(judged: Judged, truths: list[Tensor], generators: list[torch.Generator]) -> tuple[Tensor, Tensor]:
    """(N,) losses of objectness and of deltas, each over the sampled anchors of its image. truths: (G, 4) an image."""
    images = zip(judged.objectness_NA, judged.deltas_NA4, truths, generators, strict=True)
    losses = [image_losses(judged.anchors_A4, *image) for image in images]
    objectness, deltas = zip(*losses, strict=True)
    return torch.stack(objectness), torch.stack(deltas)


def image_losses(
    anchors_A4: Tensor, objectness_A: Tensor, deltas_A4: Tensor, truths_G4: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Binary cross entropy and smooth L1 of one image, both divided by the number of sampled anchors."""
    matches_A = match(
        boxes.overlaps(truths_G4, anchors_A4),
        foreground=FOREGROUND_OVERLAP,
        background=BACKGROUND_OVERLAP,
        rescue=True,
    )
    foreground, background = sample(
        matches_A, num=SAMPLED_ANCHORS, foreground_share=FOREGROUND_SHARE, generator=generator
    )
    num_sampled = max(len(foreground) + len(background), 1)
    logits = objectness_A[torch.cat([foreground, background])]
    labels = torch.zeros_like(logits)
    labels[: len(foreground)] = 1
    wanted_deltas = boxes.encode(truths_G4[matches_A[foreground]], anchors_A4[foreground], CODE_WEIGHTS)
    return (
        functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / num_sampled,
        functional.smooth_l1_loss(deltas_A4[foreground], wanted_deltas, beta=SMOOTH_L1_BETA, reduction="sum")
        / num_sampled,
    )
