# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 v1.5; the default arguments are the reference of HPC AI500 V2.0.

    model = ResNet50()                                    # 25,557,032 parameters
    score_NK = model(normalised(image_NCHW))              # uint8 pictures in, one score a class out

v1.5 halves the image's sides in the 3x3 convolution of a bottleneck, where the first version did so in the 1x1 before
it. Training on a picture of 224 x 224 takes 24.3 GFLOP; the stem's gradient with respect to the picture is not needed.

Shapes: N samples, C channels, H W pixels, K classes.
Source: He et al., "Deep residual learning for image recognition" (2016); initial state: the public HPC AI500 code;
zero-initialized last gamma: Goyal et al., "Accurate, large minibatch SGD" (2017).
"""

import math
from functools import cache

import torch
from torch import Tensor, nn

BLOCKS = (3, 4, 6, 3)
"""Bottlenecks of the four stages of ResNet-50."""
EXPANSION = 4
"""How many times more channels leave a bottleneck than its 3x3 convolution has."""
CLASSIFIER_DEVIATION = math.sqrt(2 / 1001)
"""Standard deviation of the classifier's initial weights in the public HPC AI500 code."""
MEAN_C = (123.675, 116.28, 103.53)
DEVIATION_C = (58.395, 57.12, 57.375)
"""Means and deviations of the training pictures' red, green and blue, from 0 to 255."""


def normalised(image_NCHW: Tensor) -> Tensor:
    """uint8 pictures -> fp32 of mean 0 and deviation 1 over the training set, on whatever device they are."""
    mean_C11, deviation_C11 = _moments(image_NCHW.device)
    return image_NCHW.float().sub_(mean_C11).div_(deviation_C11)


@cache
def _moments(device: torch.device) -> tuple[Tensor, Tensor]:
    mean_C11, deviation_C11 = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN_C, DEVIATION_C))
    return mean_C11, deviation_C11


class ResNet50(nn.Module):
    """Stem, four stages of bottlenecks, average over the pixels, one dense layer.

    blocks, width: bottlenecks of the stages, and channels of the stem; other values make a smaller network of the same
    family, which is no ResNet-50.  zero_init_last_gamma: every bottleneck begins as the identity, which the recipe's
    do not.
    batch_norm_decay: how much of the running statistics a step keeps (1 - torch's momentum).
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        blocks: tuple[int, ...] = BLOCKS,
        width: int = 64,
        zero_init_last_gamma: bool = False,
        batch_norm_decay: float = 0.9,
        batch_norm_epsilon: float = 1e-5,
    ):
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(3, width, kernel_size=7, stride=2),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        num_channels = width
        for number, num_blocks in enumerate(blocks):
            inner, stride = width * 2**number, 1 if number == 0 else 2
            first = Bottleneck(num_channels, inner, stride=stride)
            num_channels = inner * EXPANSION
            rest = (Bottleneck(num_channels, inner) for _ in range(num_blocks - 1))
            self.stages.append(nn.Sequential(first, *rest))
        self.classify = nn.Linear(num_channels, num_classes)
        self._initialise(zero_init_last_gamma, batch_norm_decay, batch_norm_epsilon)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        features_NCHW = self.stem(image_NCHW)
        for stage in self.stages:
            features_NCHW = stage(features_NCHW)
        return self.classify(features_NCHW.mean(dim=(2, 3)))

    def _initialise(self, zero_init_last_gamma: bool, batch_norm_decay: float, batch_norm_epsilon: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.momentum, module.eps = 1 - batch_norm_decay, batch_norm_epsilon
        for bottleneck in (module for module in self.modules() if isinstance(module, Bottleneck)):
            if zero_init_last_gamma:
                nn.init.zeros_(bottleneck.last_norm.weight)
        nn.init.normal_(self.classify.weight, std=CLASSIFIER_DEVIATION)
        nn.init.zeros_(self.classify.bias)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, num_inputs: int, inner: int, *, stride: int = 1):
        super().__init__()
        num_outputs = inner * EXPANSION
        self.residual = nn.Sequential(
            _convolution(num_inputs, inner, kernel_size=1),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            _convolution(inner, inner, kernel_size=3, stride=stride),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            _convolution(inner, num_outputs, kernel_size=1),
            nn.BatchNorm2d(num_outputs),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or num_inputs != num_outputs:
            self.shortcut = nn.Sequential(
                _convolution(num_inputs, num_outputs, kernel_size=1, stride=stride), nn.BatchNorm2d(num_outputs)
            )
        self.activation = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.residual[-1]

    def forward(self, features_NCHW: Tensor) -> Tensor:
        return self.activation(self.residual(features_NCHW) + self.shortcut(features_NCHW))


def _convolution(num_inputs: int, num_outputs: int, *, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Without a bias, since a batch norm follows; the padding keeps the sides."""
    return nn.Conv2d(num_inputs, num_outputs, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)
