# SPDX-License-Identifier: Apache-2.0
"""The detector's losses and detections in their plain form: image by image, with as many rows as there are.

    losses_NL = plain_losses(model, fields_NCHW, truth, keys_N)
    detections = plain_detections(model, fields_NCHW)

The oracle of the form with fixed shapes, with the same random numbers. It uses the convolutions and dense layers of the
model; everything between them is its own.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ewa_fasterrcnn.model import boxes
from ewa_fasterrcnn.model.box_head import Detections, Truth, level_of
from ewa_fasterrcnn.model.faster_rcnn import FasterRCNN
from ewa_fasterrcnn.model.random_numbers import ANCHORS, REGIONS, random_numbers

CROP_SIZE, SAMPLES_PER_CELL = 7, 2
BETA = 1 / 9


def plain_losses(model: FasterRCNN, fields_NCHW: Tensor, truth: Truth, keys_N: Tensor) -> Tensor:
    """(N, L) losses, as FasterRCNN.forward."""
    losses, image_size = [], fields_NCHW.shape[-2:]
    pyramid = model.pyramid(model.backbone(fields_NCHW))
    judged = model.proposals(pyramid, image_size)
    for image, key_1 in enumerate(keys_N.split(1)):
        used = truth.classes_NG[image] >= 0
        boxes_G4, classes_G = truth.boxes_NG4[image][used], truth.classes_NG[image][used]
        objectness_A, deltas_A4 = judged.objectness_NA[image], judged.deltas_NA4[image]
        random_A = random_numbers(key_1, len(objectness_A), purpose=ANCHORS)[0]
        first = plain_proposal_losses(judged.anchors_A4, objectness_A, deltas_A4, boxes_G4, random_A)
        proposals_P4 = plain_select(judged, image, image_size, num=2 * model.proposals.num_proposals)
        num_rows, num_slots = len(used), 2 * model.proposals.num_proposals
        random_R = random_numbers(key_1, num_rows + min(num_slots, len(objectness_A)), purpose=REGIONS)[0]
        random_R = torch.cat([random_R[:num_rows][used], random_R[num_rows:][: len(proposals_P4)]])
        own_levels = [level_NCHW[image] for level_NCHW in pyramid[:-1]]
        second = plain_region_losses(model, own_levels, proposals_P4, boxes_G4, classes_G, random_R, image_size)
        losses.append(torch.stack([*first, *second]))
    return torch.stack(losses)


@torch.no_grad()
def plain_detections(model: FasterRCNN, fields_NCHW: Tensor) -> list[Detections]:
    """The detections of each image, as FasterRCNN.forward and box_head.by_image."""
    found, image_size = [], fields_NCHW.shape[-2:]
    pyramid = model.pyramid(model.backbone(fields_NCHW))
    judged = model.proposals(pyramid, image_size)
    for image in range(len(fields_NCHW)):
        regions_R4 = plain_select(judged, image, image_size, num=model.proposals.num_proposals)
        crops = plain_crops(model, [level_NCHW[image] for level_NCHW in pyramid[:-1]], regions_R4, image_size)
        logits_RK, deltas_RK4 = model.head.judge(crops)
        scores_RK = logits_RK.softmax(dim=1)
        regions, classes = (scores_RK[:, 1:] > 0.05).nonzero().unbind(dim=1)
        decoded = boxes.decode(deltas_RK4[regions, classes + 1], regions_R4[regions], (10.0, 5.0))
        boxes_D4, scores_D = boxes.clip(decoded, image_size), scores_RK[regions, classes + 1]
        apart = boxes_D4 + classes[:, None] * 10_000  # boxes of different classes do not suppress each other
        kept = plain_suppress(apart, scores_D, threshold=0.5)[:100]
        found.append(Detections(boxes_D4[kept], scores_D[kept], classes[kept]))
    return found


def plain_select(judged, image: int, image_size, *, num: int) -> Tensor:
    """(P, 4) proposals of an image, the best first."""
    sizes, proposals, scores = judged.level_sizes, [], []
    columns = (judged.anchors_A4, judged.objectness_NA[image].detach(), judged.deltas_NA4[image].detach())
    for anchors_A4, objectness_A, deltas_A4 in zip(*(column.split(sizes) for column in columns), strict=True):
        scores_P, best_P = objectness_A.topk(min(num, len(objectness_A)))
        proposals_P4 = boxes.clip(boxes.decode(deltas_A4[best_P], anchors_A4[best_P], (1.0, 1.0)), image_size)
        extended_P = (proposals_P4[:, 2:] - proposals_P4[:, :2] >= 1e-3).all(dim=1)
        proposals_P4, scores_P = proposals_P4[extended_P], scores_P[extended_P]
        kept = plain_suppress(proposals_P4, scores_P, threshold=0.7)
        proposals.append(proposals_P4[kept])
        scores.append(scores_P[kept])
    best = torch.cat(scores).argsort(descending=True, stable=True)[:num]
    return torch.cat(proposals)[best]


def plain_proposal_losses(anchors_A4, objectness_A, deltas_A4, truths_G4, random_A) -> tuple[Tensor, Tensor]:
    """Binary cross entropy and smooth L1 of one image, both divided by the number of sampled anchors."""
    matches_A = plain_match(boxes.overlaps(truths_G4, anchors_A4), foreground=0.7, background=0.3, rescue=True)
    foreground, background = plain_sample(matches_A, random_A, num=256, foreground_share=0.5)
    num_sampled = max(len(foreground) + len(background), 1)
    logits = objectness_A[torch.cat([foreground, background])]
    labels = torch.zeros_like(logits)
    labels[: len(foreground)] = 1
    wanted = boxes.encode(truths_G4[matches_A[foreground]], anchors_A4[foreground], (1.0, 1.0))
    return (
        functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / num_sampled,
        functional.smooth_l1_loss(deltas_A4[foreground], wanted, beta=BETA, reduction="sum") / num_sampled,
    )


def plain_region_losses(model, levels, proposals_P4, truths_G4, classes_G, random_R, image_size):
    """Cross entropy and smooth L1 of one image, both divided by the number of sampled regions."""
    candidates_R4 = torch.cat([truths_G4, proposals_P4])
    matches_R = plain_match(boxes.overlaps(truths_G4, candidates_R4), foreground=0.5, background=0.5, rescue=False)
    num = model.head.num_sampled
    foreground, background = plain_sample(matches_R, random_R, num=num, foreground_share=0.25)
    chosen, matched = torch.cat([foreground, background]), matches_R[foreground]
    labels = torch.zeros_like(chosen)
    labels[: len(foreground)] = classes_G[matched] + 1
    logits_RK, deltas_RK4 = model.head.judge(plain_crops(model, levels, candidates_R4[chosen], image_size))
    num_sampled, num_foreground = max(len(chosen), 1), len(foreground)
    wanted = boxes.encode(truths_G4[matched], candidates_R4[foreground], (10.0, 5.0))
    found = deltas_RK4[torch.arange(num_foreground), labels[:num_foreground]]
    return (
        functional.cross_entropy(logits_RK, labels, reduction="sum") / num_sampled,
        functional.smooth_l1_loss(found, wanted, beta=BETA, reduction="sum") / num_sampled,
    )


def plain_match(overlaps_GA: Tensor, *, foreground: float, background: float, rescue: bool) -> Tensor:
    """(A,) of each candidate's true box, -1 for background or -2 for ignored."""
    num_truths, num_candidates = overlaps_GA.shape
    if num_truths == 0:
        return overlaps_GA.new_full((num_candidates,), -1, dtype=torch.long)
    best_A, matches_A = overlaps_GA.max(dim=0)
    matched_A = best_A >= foreground
    if rescue:
        best_G1 = overlaps_GA.max(dim=1, keepdim=True).values
        matched_A |= ((overlaps_GA == best_G1) & (best_G1 > 0)).any(dim=0)
    return torch.where(matched_A, matches_A, torch.where(best_A < background, -1, -2))


def plain_sample(matches_A, random_A, *, num: int, foreground_share: float) -> tuple[Tensor, Tensor]:
    """Indices of matched and background candidates, those with the largest random numbers."""
    foreground = _largest(matches_A >= 0, random_A, int(num * foreground_share))
    return foreground, _largest(matches_A == -1, random_A, num - len(foreground))


def _largest(wanted_A: Tensor, random_A: Tensor, num: int) -> Tensor:
    indices = wanted_A.nonzero()[:, 0]
    return indices[random_A[indices].argsort(descending=True)[:num]]


def plain_crops(model, levels: list[Tensor], boxes_R4: Tensor, image_size) -> Tensor:
    """(R, C, 7, 7) of the feature maps P2 to P5 of one image, each region from the level of its size."""
    level_R = level_of(boxes_R4, model.head.finest_anchor, len(levels))
    crops, places = [], []
    for number, level_CHW in enumerate(levels):
        rows = (level_R == number).nonzero()[:, 0]
        crops.append(plain_roi_align(level_CHW, boxes_R4[rows], scale=level_CHW.shape[-1] / image_size[1]))
        places.append(rows)
    return torch.cat(crops)[torch.cat(places).argsort()]


def plain_suppress(boxes_B4: Tensor, scores_B: Tensor, *, threshold: float) -> Tensor:
    """Indices of the boxes that stay, best first: the definition, applied until nothing changes."""
    order = scores_B.argsort(descending=True, stable=True)
    beaten_by_BB = (boxes.overlaps(boxes_B4[order], boxes_B4[order]) > threshold).tril(-1).float()
    stays_B = torch.ones(len(order))
    while True:
        updated_B = (beaten_by_BB @ stays_B == 0).float()
        if torch.equal(updated_B, stays_B):
            return order[stays_B.bool()]
        stays_B = updated_B


def plain_roi_align(features_CHW: Tensor, boxes_R4: Tensor, *, scale: float) -> Tensor:
    """RoIAlign as one grid_sample over all regions, then an average over each cell's points."""
    num_channels, *map_size = features_CHW.shape
    if len(boxes_R4) == 0:
        return features_CHW.new_zeros(0, num_channels, CROP_SIZE, CROP_SIZE)
    points = [_points(boxes_R4[:, axis::2] * scale, map_size[axis]) for axis in (0, 1)]
    num_points = CROP_SIZE * SAMPLES_PER_CELL
    (y_RP, inside_y_RP), (x_RP, inside_x_RP) = points
    grid_RPP2 = torch.stack(
        [x_RP[:, None, :].expand(-1, num_points, -1), y_RP[:, :, None].expand(-1, -1, num_points)], dim=-1
    )
    grid_1SP2 = grid_RPP2.reshape(1, -1, num_points, 2).to(features_CHW.dtype)
    read_CSP = functional.grid_sample(features_CHW[None], grid_1SP2, padding_mode="border", align_corners=True)[0]
    inside_SP = (inside_y_RP[:, :, None] & inside_x_RP[:, None, :]).reshape(-1, num_points)
    cells = functional.avg_pool2d(read_CSP * inside_SP, SAMPLES_PER_CELL)
    return cells.reshape(num_channels, -1, CROP_SIZE, CROP_SIZE).transpose(0, 1)


def _points(edges_R2: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
    """Along one axis: (R, P) places from -1 to 1 as grid_sample wants them, and whether the map reaches there."""
    num_points = CROP_SIZE * SAMPLES_PER_CELL
    fractions_P = (torch.arange(num_points, dtype=edges_R2.dtype) + 0.5) / num_points
    low_R1, high_R1 = edges_R2[:, :1], edges_R2[:, 1:]
    places_RP = low_R1 + (high_R1 - low_R1) * fractions_P - 0.5
    inside_RP = (places_RP >= -1) & (places_RP <= num_cells)
    return places_RP * (2 / max(num_cells - 1, 1)) - 1, inside_RP
