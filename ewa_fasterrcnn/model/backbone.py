# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 and the feature pyramid on it: climate fields -> maps of features at five scales.

    backbone = ResNet50(norm="group")
    pyramid = FeaturePyramid(backbone.out_channels)
    p2, p3, p4, p5, p6 = pyramid(backbone(fields_NCHW))       # 1/4, 1/8, 1/16, 1/32, 1/64 of the sides

Sources: He et al., "Deep residual learning" (2016), with the stride in the 3x3 convolution (v1.5); Lin et al.,
"Feature pyramid networks for object detection" (2017). Names of layers are those of torchvision's resnet50, so that
its weights can be loaded.
"""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from compliance.files.errors import UserError

BLOCKS = (3, 4, 6, 3)
"""Bottlenecks of the four stages."""
EXPANSION = 4
"""A bottleneck's outputs for each of its inner channels."""
NUM_GROUPS = 32
"""Groups of group norm, of two channels or more."""


class WeightsError(UserError):
    """A file of pretrained weights that does not fit the network."""


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that keeps the statistics, scales and shifts which it was pretrained with."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        """Stays in evaluation: its statistics are constants."""
        return super().train(False)


NORMS = {
    "group": lambda channels: nn.GroupNorm(min(NUM_GROUPS, channels // 2), channels),
    "batch": nn.BatchNorm2d,
    "frozen": FrozenBatchNorm2d,
}
"""The norm after each convolution of the backbone; README.md says when to use which."""


class ResNet50(nn.Module):
    """The four stages of ResNet-50, without its pooling and its classifier.

    norm: a key of NORMS; "frozen" also freezes the stem and the first stage.  base_width: channels of the stem; the
    other widths follow it.
    """

    def __init__(self, *, num_channels: int = 16, base_width: int = 64, norm: str = "group") -> None:
        super().__init__()
        widths = [base_width * 2**stage for stage in range(len(BLOCKS))]
        self.out_channels = [width * EXPANSION for width in widths]
        self.conv1 = nn.Conv2d(num_channels, base_width, 7, stride=2, padding=3, bias=False)
        self.bn1 = NORMS[norm](base_width)
        in_channels = [base_width, *self.out_channels]
        stages = zip(BLOCKS, in_channels, widths, (1, 2, 2, 2), strict=False)
        self.layer1, self.layer2, self.layer3, self.layer4 = (_stage(*stage, norm) for stage in stages)
        self._reset_parameters()
        if norm == "frozen":
            for layer in (self.conv1, self.layer1):
                layer.requires_grad_(False)

    def forward(self, fields_NCHW: Tensor) -> list[Tensor]:
        """C2 to C5: the outputs of the stages, at 1/4, 1/8, 1/16 and 1/32 of the sides."""
        features = functional.relu(self.bn1(self.conv1(fields_NCHW)), inplace=True)
        features = functional.max_pool2d(features, 3, stride=2, padding=1)
        outputs = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            outputs.append(features)
        return outputs

    def load_pretrained(self, path: Path) -> None:
        """Weights of a ResNet-50 for pictures, as torch.save wrote them; WeightsError where they do not fit.

        A stem for red, green and blue serves other channels with the mean of its three kernels, scaled so that
        channels which are all alike give what three of them gave.
        """
        weights = read_weights(path)
        stem = weights.get("conv1.weight")
        if stem is not None and stem.shape[1] != self.conv1.in_channels:
            kernel = stem.sum(dim=1, keepdim=True) / self.conv1.in_channels
            weights["conv1.weight"] = kernel.repeat(1, self.conv1.in_channels, 1, 1)
        own = self.state_dict()
        missing = own.keys() - weights.keys()
        if missing:
            raise WeightsError(f"{path}: found no {min(missing)}, expected the weights of a ResNet-50 with batch norm")
        for name, tensor in own.items():
            if weights[name].shape != tensor.shape:
                found = f"found shape {tuple(weights[name].shape)}, expected {tuple(tensor.shape)}"
                raise WeightsError(f"{path}: {name}: {found}")
        self.load_state_dict({name: weights[name] for name in own})

    def _reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)  # a bottleneck begins as the identity: Goyal et al. (2017)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = NORMS[norm](width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = NORMS[norm](width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = NORMS[norm](out_channels)
        self.downsample = None
        if stride > 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, NORMS[norm](out_channels))

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = functional.relu(self.bn1(self.conv1(features)), inplace=True)
        features = functional.relu(self.bn2(self.conv2(features)), inplace=True)
        return functional.relu(self.bn3(self.conv3(features)) + shortcut, inplace=True)


class FeaturePyramid(nn.Module):
    """C2 to C5 -> P2 to P6, all of the same number of channels: coarse maps bring meaning to the fine ones."""

    def __init__(self, in_channels: list[int], *, out_channels: int = 256) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)
        self.outer = nn.ModuleList(nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels)
        for convolution in (*self.inner, *self.outer):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            nn.init.zeros_(convolution.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        merged = self.inner[-1](features[-1])
        outputs = [self.outer[-1](merged)]
        finer = zip(features[-2::-1], self.inner[-2::-1], self.outer[-2::-1], strict=True)
        for finer_features, inner, outer in finer:
            lateral = inner(finer_features)
            merged = lateral + functional.interpolate(merged, size=lateral.shape[-2:], mode="nearest")
            outputs.insert(0, outer(merged))
        return [*outputs, functional.max_pool2d(outputs[-1], 1, stride=2)]


def _stage(num_blocks: int, in_channels: int, width: int, stride: int, norm: str) -> nn.Sequential:
    first = Bottleneck(in_channels, width, stride, norm)
    return nn.Sequential(first, *(Bottleneck(width * EXPANSION, width, 1, norm) for _ in range(num_blocks - 1)))


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state_dict that torch.save wrote; WeightsError where the file is none."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError):
        raise WeightsError(f"{path}: not weights that torch.save wrote as a state_dict") from None
    if not (isinstance(weights, dict) and all(isinstance(value, Tensor) for value in weights.values())):
        raise WeightsError(f"{path}: found {type(weights).__name__}, expected a state_dict: names and tensors")
    return weights
