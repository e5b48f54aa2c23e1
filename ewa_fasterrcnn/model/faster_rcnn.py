# SPDX-License-Identifier: Apache-2.0
"""The Faster R-CNN of Extreme Weather Analytics; the default arguments are the reference.

    model = FasterRCNN()                                        # 41,408,424 parameters
    losses_NL = model(fields_NCHW, truth, keys_N)               # training: LOSSES of each image
    detections = model.eval()(fields_NCHW)                      # boxes, scores and classes of each image

Fields are normalised: zero mean and unit variance a channel. Boxes are ymin, xmin, ymax, xmax in pixels.

Shape legend: N images, C = 16 channels, H x W pixels, L = 4 losses.
Sources: Ren et al., "Faster R-CNN" (2015) on the feature pyramid of Lin et al. (2017); the model of HPC AI500 V2.0,
section 5.2.1, whose own code is not public.
"""

import copy

import torch
from torch import Tensor, nn

from ewa_fasterrcnn.model.backbone import FeaturePyramid, ResNet50
from ewa_fasterrcnn.model.box_head import BoxHead, Detections, Truth
from ewa_fasterrcnn.model.random_numbers import ANCHORS, REGIONS, random_numbers
from ewa_fasterrcnn.model.region_proposals import RegionProposals, proposal_losses
from ewa_fasterrcnn.model.roi_ops import CROP_SIZE
from harness import flops

LOSSES = ("objectness", "proposal_boxes", "classes", "boxes")
"""The columns of what training returns; their sum is what is minimised."""
ANCHOR_SIZES = (32, 64, 128, 256, 512)
"""Sides of the square anchors of the five pyramid levels, in pixels."""


class FasterRCNN(nn.Module):
    """Backbone -> feature pyramid -> region proposals -> RoIAlign -> box head.

    The arguments below num_classes make a smaller network of the same form, for small fields.
    """

    def __init__(
        self,
        *,
        num_channels: int = 16,
        num_classes: int = 5,
        norm: str = "group",
        base_width: int = 64,
        pyramid_channels: int = 256,
        head_features: int = 1024,
        anchor_sizes: tuple[float, ...] = ANCHOR_SIZES,
        num_proposals: int = 1000,
        num_sampled_regions: int = 512,
    ) -> None:
        super().__init__()
        self.backbone = ResNet50(num_channels=num_channels, base_width=base_width, norm=norm)
        self.pyramid = FeaturePyramid(self.backbone.out_channels, out_channels=pyramid_channels)
        self.proposals = RegionProposals(
            num_channels=pyramid_channels, anchor_sizes=anchor_sizes, num_proposals=num_proposals
        )
        self.head = BoxHead(
            num_channels=pyramid_channels,
            num_features=head_features,
            num_classes=num_classes,
            num_sampled=num_sampled_regions,
            finest_anchor=anchor_sizes[0],
        )

    def forward(
        self, fields_NCHW: Tensor, truth: Truth | None = None, keys_N: Tensor | None = None
    ) -> Tensor | Detections:
        """With truth, (N, L) losses; without, the detections of each image.

        keys_N: random keys of the images (random_numbers.image_keys), which decide the sampled anchors and regions.
        That an image has its own makes its losses the same whichever rank computes them. All shapes are fixed by the
        arguments' shapes, and no operation waits for the device.
        """
        image_size = fields_NCHW.shape[-2:]
        pyramid = self.pyramid(self.backbone(fields_NCHW))
        judged = self.proposals(pyramid, image_size)
        proposals = self.proposals.select(judged, image_size)
        # The coarsest level proposes only: RoIAlign reads P2 to P5.
        if truth is None:
            return self.head.detect(pyramid[:-1], proposals, image_size)
        num_anchors, num_regions = len(judged.anchors_A4), truth.classes_NG.shape[1] + proposals.boxes_NP4.shape[1]
        random_NA = random_numbers(keys_N, num_anchors, purpose=ANCHORS)
        random_NR = random_numbers(keys_N, num_regions, purpose=REGIONS)
        losses = (
            *proposal_losses(judged, truth.boxes_NG4, random_NA),
            *self.head.losses(pyramid[:-1], proposals, truth, random_NR, image_size),
        )
        return torch.stack(losses, dim=1)


def training_flops(model: FasterRCNN, image_size: tuple[int, int]) -> int:
    """Operations of a training step on one image, with as many regions as are sampled; a multiply-add is two."""
    with torch.device("meta"):
        fields_NCHW = torch.empty(1, model.backbone.conv1.in_channels, *image_size)
        crops_RC77 = torch.empty(model.head.num_sampled, model.proposals.shared.in_channels, CROP_SIZE, CROP_SIZE)
    model = copy.deepcopy(model).to("meta")
    dense, head = _EveryAnchor(model), _EveryRegion(model.head)
    return flops.training_flops(dense, fields_NCHW) + flops.training_flops(head, crops_RC77.requires_grad_())


class _EveryAnchor(nn.Module):
    """The part of the network whose work depends on the image's size alone."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, fields_NCHW: Tensor) -> Tensor:
        pyramid = self.model.pyramid(self.model.backbone(fields_NCHW))
        judged = self.model.proposals(pyramid, fields_NCHW.shape[-2:])
        return torch.cat([judged.objectness_NA.flatten(), judged.deltas_NA4.flatten()])


class _EveryRegion(nn.Module):
    """The part whose work depends on the number of regions."""

    def __init__(self, head: BoxHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, crops_RC77: Tensor) -> Tensor:
        return torch.cat([judged.flatten() for judged in self.head.judge(crops_RC77)])
