# SPDX-License-Identifier: Apache-2.0
"""The box head: what kind of storm is in each proposed region, and where exactly are its edges?

Shape legend: N images, R regions, C channels, K classes with background (0), D detections, G rows of true boxes,
P proposals, X any leading dimensions.
Sources: Girshick, "Fast R-CNN" (2015); the two-layer head and the choice of levels of Lin et al. (2017), section 4.2.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ewa_fasterrcnn.model import boxes
from ewa_fasterrcnn.model.matching import IGNORED, Sample, match, move_losses, sample
from ewa_fasterrcnn.model.region_proposals import Proposals
from ewa_fasterrcnn.model.roi_ops import CROP_SIZE, roi_align, suppress

CODE_WEIGHTS = (10.0, 5.0)
FOREGROUND_OVERLAP = 0.5
FOREGROUND_SHARE = 0.25
SUPPRESSION_OVERLAP = 0.5
LEAST_SCORE = 0.05
NO_DETECTION = 0.0
MOST_DETECTIONS = 100
CANONICAL_SIDE = 7
"""Sides of the finest anchor that a region has which belongs to the third level: 224 pixels where the anchor has 32."""


class Truth(NamedTuple):
    """The storms of a batch, as the data set has them: a fixed number of rows for each image."""

    boxes_NG4: Tensor
    """An unused row is -1 throughout, a box without area."""
    classes_NG: Tensor
    """From 0, without background; -1 in unused rows."""

    @classmethod
    def of_rows(cls, rows_NB5: Tensor) -> "Truth":
        """From rows of ymin, xmin, ymax, xmax, class."""
        return cls(rows_NB5[..., :4], rows_NB5[..., 4].long())


class Detections(NamedTuple):
    """Boxes found, the best score first: in each image of a batch, with dimension N in front, or in one image."""

    boxes_D4: Tensor
    scores_D: Tensor
    """NO_DETECTION in the empty rows of a batch."""
    classes_D: Tensor
    """From 0, without background, as in the data set."""


class BoxHead(nn.Module):
    """RoIAlign, two dense layers, then a class and class-specific edges for every region.

    num_classes: with background.  num_sampled: regions of an image that training uses.  finest_anchor: pixels.
    """

    def __init__(
        self,
        *,
        num_channels: int = 256,
        num_features: int = 1024,
        num_classes: int = 5,
        num_sampled: int = 512,
        finest_anchor: float = 32,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_sampled, self.finest_anchor = num_classes, num_sampled, finest_anchor
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(num_channels * CROP_SIZE**2, num_features),
            nn.ReLU(),
            nn.Linear(num_features, num_features),
            nn.ReLU(),
        )
        self.classes = nn.Linear(num_features, num_classes)
        self.deltas = nn.Linear(num_features, 4 * num_classes)
        for layer, deviation in ((self.classes, 0.01), (self.deltas, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, pyramid: list[Tensor], regions_NR4: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(N, R, K) logits and (N, R, K, 4) deltas of the regions of each image."""
        level_NR = level_of(regions_NR4, self.finest_anchor, len(pyramid))
        scales = [level_NCHW.shape[-1] / image_size[1] for level_NCHW in pyramid]
        judged = self.judge(roi_align(pyramid, regions_NR4, level_NR, scales))
        return tuple(column.unflatten(0, regions_NR4.shape[:2]) for column in judged)

    def judge(self, crops_RC77: Tensor) -> tuple[Tensor, Tensor]:
        """(R, K) logits and (R, K, 4) deltas of crops, in the crops' type whatever autocast computes in."""
        features_RF = self.layers(crops_RC77)
        logits_RK, deltas_R4K = self.classes(features_RF), self.deltas(features_RF)
        deltas_RK4 = deltas_R4K.reshape(-1, self.num_classes, 4)
        return logits_RK.to(crops_RC77.dtype), deltas_RK4.to(crops_RC77.dtype)

    def losses(
        self,
        pyramid: list[Tensor],
        proposals: Proposals,
        truth: Truth,
        random_NP: Tensor,
        image_size: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """(N,) losses of classes and of deltas, each over the sampled regions of its image.

        random_NP: integers for the rows of true boxes, then for the proposals; those with the largest are sampled.
        """
        candidates_NP4, matches_NP = match_regions(proposals, truth)
        sampled = sample(matches_NP, random_NP, num=self.num_sampled, foreground_share=FOREGROUND_SHARE)
        regions_NR4 = boxes.choose(candidates_NP4, sampled.indices_NS)
        logits_NRK, deltas_NRK4 = self(pyramid, regions_NR4, image_size)
        labels_NR = labels_of(truth, matches_NP, sampled)
        deltas_NR4 = deltas_NRK4.gather(2, labels_NR[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
        classes_NR = functional.cross_entropy(logits_NRK.transpose(1, 2), labels_NR, reduction="none")
        return (
            (classes_NR * sampled.is_filled_NS).sum(dim=1) / sampled.num_filled_N(),
            move_losses(deltas_NR4, regions_NR4, truth.boxes_NG4, matches_NP, sampled, CODE_WEIGHTS),
        )

    @torch.no_grad()
    def detect(self, pyramid: list[Tensor], proposals: Proposals, image_size: tuple[int, int]) -> Detections:
        """Detections of the head in the proposals of each image."""
        logits_NRK, deltas_NRK4 = self(pyramid, proposals.boxes_NP4, image_size)
        return detections(logits_NRK.softmax(dim=-1), deltas_NRK4, proposals, image_size)


def level_of(boxes_XR4: Tensor, finest_anchor: float, num_levels: int) -> Tensor:
    """(X, R) number of each region's level, from 0: a region of double the side belongs one level higher."""
    sides = boxes.areas(boxes_XR4).clamp(min=1e-6).sqrt()
    level = torch.floor(2 + torch.log2(sides / (CANONICAL_SIDE * finest_anchor)) + 1e-6)
    return level.clamp(0, num_levels - 1).long()


def match_regions(proposals: Proposals, truth: Truth) -> tuple[Tensor, Tensor]:
    """Candidates to learn from, (N, G + P, 4) and their matches: the true boxes are among them."""
    candidates_NP4 = torch.cat([truth.boxes_NG4, proposals.boxes_NP4], dim=1)
    is_filled_NP = torch.cat([truth.classes_NG >= 0, proposals.is_filled_NP], dim=1)
    overlaps_NGP = boxes.overlaps(truth.boxes_NG4, candidates_NP4)
    matches_NP = match(overlaps_NGP, foreground=FOREGROUND_OVERLAP, background=FOREGROUND_OVERLAP, rescue=False)
    return candidates_NP4, torch.where(is_filled_NP, matches_NP, IGNORED)


def labels_of(truth: Truth, matches_NP: Tensor, sampled: Sample) -> Tensor:
    """(N, R) class of each sampled region: 0 for background."""
    matches_NR = matches_NP.gather(1, sampled.indices_NS).clamp(min=0)
    return torch.where(sampled.is_foreground_NS, truth.classes_NG.gather(1, matches_NR) + 1, 0)


def detections(scores_NRK: Tensor, deltas_NRK4: Tensor, regions: Proposals, image_size: tuple[int, int]) -> Detections:
    """Every class of every region with a score, thinned out class by class, the best first.

    A box of a diverged network that is no number is no detection.
    """
    scores_NKR, deltas_NKR4 = scores_NRK[..., 1:].transpose(1, 2), deltas_NRK4[:, :, 1:].transpose(1, 2)
    boxes_NKR4 = boxes.clip(boxes.decode(deltas_NKR4, regions.boxes_NP4[:, None], CODE_WEIGHTS), image_size)
    is_found_NKR = (scores_NKR > LEAST_SCORE) & regions.is_filled_NP[:, None] & boxes_NKR4.isfinite().all(dim=-1)
    stays_NKR = suppress(boxes_NKR4, torch.where(is_found_NKR, scores_NKR, -torch.inf), threshold=SUPPRESSION_OVERLAP)
    scores_ND = torch.where(stays_NKR, scores_NKR, NO_DETECTION).flatten(1)
    scores_ND, best_ND = (column[:, :MOST_DETECTIONS] for column in scores_ND.sort(dim=1, descending=True, stable=True))
    return Detections(boxes.choose(boxes_NKR4.flatten(1, 2), best_ND), scores_ND, best_ND // scores_NKR.shape[2])


def by_image(batch: Detections) -> list[Detections]:
    """The detections of each image of a batch, in memory and without empty rows."""
    columns = zip(*(column.cpu() for column in batch), strict=True)
    return [
        Detections(*(column[scores_D != NO_DETECTION] for column in (boxes_D4, scores_D, classes_D)))
        for boxes_D4, scores_D, classes_D in columns
    ]
