# SPDX-License-Identifier: Apache-2.0
"""A small network with every kind of layer that the benchmarks train, and a batch for it.

The last convolution over volumes sees 2^3 voxels: there, bf16 weight gradients of public libraries have been wrong.

Shapes: N samples, C channels, D H W voxels or pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Load:
    """The size of the step."""

    num_samples: int
    volume_side: int
    """Voxels; a power of two."""
    image_side: int
    """Pixels."""


LOADS = {
    "cpu": Load(num_samples=2, volume_side=16, image_side=32),
    "cuda": Load(num_samples=16, volume_side=64, image_side=256),
}
"""Loads by type of device: a fraction of a second for a processor, and enough to fill an accelerator."""
SMALLEST_VOLUME = 2
NUM_CLASSES = 16


class EveryLayer(nn.Module):
    """3D, plain, depthwise, dilated and transposed 2D convolutions, batch norms and dense layers."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        blocks, channels, side = [nn.Conv3d(4, 16, 3, padding=1), nn.ReLU()], 16, load.volume_side
        while side > SMALLEST_VOLUME:
            blocks += [nn.Conv3d(channels, 2 * channels, 2, stride=2), nn.ReLU()]
            channels, side = 2 * channels, side // 2
        blocks += [nn.Conv3d(channels, channels, 3, padding="same"), nn.ReLU(), nn.Flatten()]
        self.volumes = nn.Sequential(*blocks, nn.Linear(channels * side**3, NUM_CLASSES))
        self.images = nn.Sequential(
            nn.Conv2d(16, 64, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=2, dilation=2, groups=64, bias=False),
            nn.Conv2d(64, 128, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(128, NUM_CLASSES, 3, stride=2, padding=1, output_padding=1),
        )

    def forward(self, volumes_NCDHW: Tensor, images_NCHW: Tensor) -> Tensor:
        """(N, NUM_CLASSES) scores."""
        return self.volumes(volumes_NCDHW) + self.images(images_NCHW).float().mean(dim=(2, 3))


def seeded(load: Load, device: torch.device) -> tuple[EveryLayer, tuple[Tensor, Tensor, Tensor]]:
    """The network and a batch of volumes, images and classes: the same values on all devices."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = EveryLayer(load)
        volumes_NCDHW = torch.randn(load.num_samples, 4, *[load.volume_side] * 3)
        images_NCHW = torch.randn(load.num_samples, 16, *[load.image_side] * 2)
        classes_N = torch.randint(NUM_CLASSES, (load.num_samples,))
    return network.to(device), (volumes_NCDHW.to(device), images_NCHW.to(device), classes_N.to(device))
