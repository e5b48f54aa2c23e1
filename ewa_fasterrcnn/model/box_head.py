# SPDX-License-Identifier: Apache-2.0
"""The box head: what kind of storm is in each proposed region, and where exactly are its edges?

Shape legend: N images, R regions, C channels, K classes with background (0), D detections, G true boxes.
Sources: Girshick, "Fast R-CNN" (2015); the two-layer head and the choice of levels of Lin et al. (2017), section 4.2.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ewa_fasterrcnn.model import boxes
from ewa_fasterrcnn.model.matching import match, sample
from ewa_fasterrcnn.model.roi_ops import CROP_SIZE, roi_align, suppress_by_group

CODE_WEIGHTS = (10.0, 5.0)
FOREGROUND_OVERLAP = 0.5
FOREGROUND_SHARE = 0.25
SUPPRESSION_OVERLAP = 0.5
LEAST_SCORE = 0.05
MOST_DETECTIONS = 100
SMOOTH_L1_BETA = 1 / 9
CANONICAL_SIDE = 7
"""Sides of the finest anchor that a region has which belongs to the third level: 224 pixels where the anchor has 32."""


class Truth(NamedTuple):
    """The storms of one image."""

    boxes_G4: Tensor
    classes_G: Tensor
    """From 0, without background, as in the data set."""


class Detections(NamedTuple):
    """What was found in one image, the best score first."""

    boxes_D4: Tensor
    scores_D: Tensor
    classes_D: Tensor
    """From 0, without background, as in the data set."""


class BoxHead(nn.Module):
    """RoIAlign, two dense layers, then a class and class-specific edges for every region.

    num_classes: with background.  num_sampled: regions of an image that training takes.  finest_anchor: pixels.
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

    def forward(
        self, pyramid: list[Tensor], regions: list[Tensor], image_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """(R, K) logits and (R, K, 4) deltas of the regions of all images, one after another."""
        crops = [
            crop([level_NCHW[number] for level_NCHW in pyramid], boxes_R4, image_size, self.finest_anchor)
            for number, boxes_R4 in enumerate(regions)
        ]
        return self.judge(torch.cat(crops))

    def judge(self, crops_RC77: Tensor) -> tuple[Tensor, Tensor]:
        features_RF = self.layers(crops_RC77)
        logits_RK, deltas_R4K = self.classes(features_RF), self.deltas(features_RF)
        return logits_RK.float(), deltas_R4K.float().reshape(-1, self.num_classes, 4)

    def losses(
        self,
        pyramid: list[Tensor],
        proposals: list[Tensor],
        truths: list[Truth],
        generators: list[torch.Generator],
        image_size: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """(N,) losses of classes and of deltas, each over the sampled regions of its image."""
        images = zip(proposals, truths, generators, strict=True)
        samples = [sample_regions(*image, num=self.num_sampled) for image in images]
        regions, labels, matched = zip(*samples, strict=True)
        logits_RK, deltas_RK4 = self(pyramid, list(regions), image_size)
        sizes = [len(boxes_R4) for boxes_R4 in regions]
        parts = zip(logits_RK.split(sizes), deltas_RK4.split(sizes), regions, labels, matched, strict=True)
        classes, deltas = zip(*(region_losses(*part) for part in parts), strict=True)
        return torch.stack(classes), torch.stack(deltas)

    @torch.no_grad()
    def detect(self, pyramid: list[Tensor], proposals: list[Tensor], image_size: tuple[int, int]) -> list[Detections]:
        logits_RK, deltas_RK4 = self(pyramid, proposals, image_size)
        sizes = [len(boxes_R4) for boxes_R4 in proposals]
        parts = zip(logits_RK.softmax(dim=1).split(sizes), deltas_RK4.split(sizes), proposals, strict=True)
        return [detections(*part, image_size) for part in parts]


def crop(levels: list[Tensor], boxes_R4: Tensor, image_size: tuple[int, int], finest_anchor: float) -> Tensor:
    """(R, C, 7, 7) of the feature maps P2 to P5 of one image, each region from the level of its size."""
    numbers_R = level_of(boxes_R4, finest_anchor, len(levels))
    crops, places = [], []
    for number, level_CHW in enumerate(levels):
        rows = (numbers_R == number).nonzero()[:, 0]
        scale = level_CHW.shape[-1] / image_size[1]
        crops.append(roi_align(level_CHW.float(), boxes_R4[rows], scale=scale))
        places.append(rows)
    return torch.cat(crops)[torch.cat(places).argsort()]


def level_of(boxes_R4: Tensor, finest_anchor: float, num_levels: int) -> Tensor:
    """(R,) number of each region's level, from 0: a region of double the side belongs one level higher."""
    sides = boxes.areas(boxes_R4).clamp(min=1e-6).sqrt()
    level = torch.floor(2 + torch.log2(sides / (CANONICAL_SIDE * finest_anchor)) + 1e-6)
    return level.clamp(0, num_levels - 1).long()


def sample_regions(
    proposals_P4: Tensor, truth: Truth, generator: torch.Generator, *, num: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Regions to learn from: their boxes (R, 4), labels (R,) with 0 for background, and true boxes (of the foreground).

    The true boxes stand among the candidates; the foreground comes first.
    """
    candidates_P4 = torch.cat([truth.boxes_G4, proposals_P4])
    matches_P = match(
        boxes.overlaps(truth.boxes_G4, candidates_P4),
        foreground=FOREGROUND_OVERLAP,
        background=FOREGROUND_OVERLAP,
        rescue=False,
    )
    foreground, background = sample(matches_P, num=num, foreground_share=FOREGROUND_SHARE, generator=generator)
    chosen, matched = torch.cat([foreground, background]), matches_P[foreground]
    labels = torch.zeros_like(chosen)
    labels[: len(foreground)] = truth.classes_G[matched] + 1
    return candidates_P4[chosen], labels, truth.boxes_G4[matched]


def region_losses(
    logits_RK: Tensor, deltas_RK4: Tensor, regions_R4: Tensor, labels_R: Tensor, matched_F4: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross entropy, and smooth L1 of the foreground's deltas for its class, both divided by the number of regions."""
    num_sampled, num_foreground = max(len(labels_R), 1), len(matched_F4)
    wanted = boxes.encode(matched_F4, regions_R4[:num_foreground], CODE_WEIGHTS)
    rows = torch.arange(num_foreground, device=labels_R.device)
    found = deltas_RK4[rows, labels_R[:num_foreground]]
    return (
        functional.cross_entropy(logits_RK, labels_R, reduction="sum") / num_sampled,
        functional.smooth_l1_loss(found, wanted, beta=SMOOTH_L1_BETA, reduction="sum") / num_sampled,
    )


def detections(scores_RK: Tensor, deltas_RK4: Tensor, regions_R4: Tensor, image_size: tuple[int, int]) -> Detections:
    """One image's findings: every class of every region with a score, thinned out class by class."""
    regions, classes = (scores_RK[:, 1:] > LEAST_SCORE).nonzero().unbind(dim=1)
    boxes_D4 = boxes.decode(deltas_RK4[regions, classes + 1], regions_R4[regions], CODE_WEIGHTS)
    boxes_D4, scores_D = boxes.clip(boxes_D4, image_size), scores_RK[regions, classes + 1]
    kept = suppress_by_group(boxes_D4, scores_D, classes, threshold=SUPPRESSION_OVERLAP)[:MOST_DETECTIONS]
    return Detections(boxes_D4[kept], scores_D[kept], classes[kept])
