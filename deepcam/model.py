# SPDX-License-Identifier: Apache-2.0
"""DeepCAM(): DeepLab v3+ on Xception-65 features, with deconvolutions for the way back up.

The arguments that have a default are the MLPerf HPC reference: 16 channels in, 3 classes out, output stride 16.

Shapes: N samples, C channels, H x W pixels. A suffix such as NCHW names the axes; /4 and /16 say how often H and W are
halved. H and W may be any multiples of 16.

    fields_NCHW (16) -> entry /4 (128, the skip) -> entry /16 (728) -> middle /16 (728) -> exit /16 (2048)
                     -> pyramid /16 (256) -> decoder /4 (256 + 48) -> logits_NCHW (3)
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from compliance.files.errors import UserError

OUTPUT_STRIDE = 16
PYRAMID_RATES = (6, 12, 18)


class InputSizeError(UserError):
    """The height or width of the fields cannot be halved four times."""


class DeepCAM(nn.Module):
    """Per-pixel logits of background, tropical cyclone and atmospheric river."""

    def __init__(self, *, num_channels: int = 16, num_classes: int = 3) -> None:
        super().__init__()
        self.encoder = Xception(num_channels)
        self.pyramid = Pyramid(2048, 256)
        self.skip = conv_norm_relu(128, 48, kernel_size=1)
        self.decoder = Decoder(256, 48, num_classes)

    def forward(self, fields_NCHW: Tensor) -> Tensor:
        """Logits of the same height and width; raises InputSizeError unless both are multiples of 16."""
        check_input_size(*fields_NCHW.shape[-2:])
        features, shallow_features = self.encoder(fields_NCHW)
        return self.decoder(self.pyramid(features), self.skip(shallow_features))


def check_input_size(height: int, width: int) -> None:
    """Raise InputSizeError, which names the nearest usable size, unless both are multiples of the output stride."""
    if height % OUTPUT_STRIDE or width % OUTPUT_STRIDE or not (height and width):
        near = [max(OUTPUT_STRIDE, round(size / OUTPUT_STRIDE) * OUTPUT_STRIDE) for size in (height, width)]
        raise InputSizeError(
            f"fields of {height} x {width} pixels: both must be multiples of {OUTPUT_STRIDE}, "
            f"such as {near[0]} x {near[1]}"
        )


class Xception(nn.Module):
    """Xception-65 as DeepLab v3+ modifies it; gives the features at /16 and the shallow ones at /4.

    The shallow features are taken *after* the ReLU: in the reference an in-place ReLU changes them before the decoder
    reads them, and a network without it is another network.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *conv_norm_relu(num_channels, 32, kernel_size=3, stride=2),
            *conv_norm_relu(32, 64, kernel_size=3),
        )
        self.shallow = Block((64, 128, 128), stride=2)
        self.deep = nn.Sequential(Block((128, 256, 256), stride=2), Block((256, 728, 728), stride=2))
        self.middle = nn.Sequential(*(Block((728, 728, 728, 728)) for _ in range(16)))
        self.exit = nn.Sequential(
            Block((728, 728, 1024), extra_convolution=True, last_relu=False),
            *separable_norm_relu(1024, 1536, dilation=2),
            *separable_norm_relu(1536, 1536, dilation=2),
            *separable_norm_relu(1536, 2048, dilation=2),
        )
        initialise_kaiming(self)

    def forward(self, fields_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        shallow_features = self.shallow(self.stem(fields_NCHW))
        features = self.exit(self.middle(self.deep(shallow_features)))
        return features, shallow_features


class Block(nn.Module):
    """Separable convolutions through the given channel counts, beside a shortcut; then a ReLU.

    A block that strides ends with one more separable convolution, without batch norm, that does the striding; the
    first block of the exit flow has that convolution too (`extra_convolution`), and no ReLU (`last_relu`).
    """

    def __init__(
        self, channels: tuple[int, ...], *, stride: int = 1, extra_convolution: bool = False, last_relu: bool = True
    ) -> None:
        super().__init__()
        first, last = channels[0], channels[-1]
        body = [layer for pair in itertools.pairwise(channels) for layer in separable_norm_relu(*pair)]
        body.pop()  # the last ReLU comes after the addition
        if stride != 1 or extra_convolution:
            body.append(SeparableConv2d(last, last, stride=stride))
        self.body = nn.Sequential(*body)
        self.shortcut = nn.Identity()
        if stride != 1 or first != last:
            self.shortcut = nn.Sequential(nn.Conv2d(first, last, 1, stride=stride, bias=False), nn.BatchNorm2d(last))
        self.activation = nn.ReLU(inplace=True) if last_relu else nn.Identity()

    def forward(self, features_NCHW: Tensor) -> Tensor:
        return self.activation(self.body(features_NCHW) + self.shortcut(features_NCHW))


class SeparableConv2d(nn.Sequential):
    """A 3 x 3 convolution of each channel alone, then a 1 x 1 across channels; no batch norm between the two."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> None:
        spatial = {"stride": stride, "padding": dilation, "dilation": dilation}
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, groups=in_channels, bias=False, **spatial),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: four dilation rates and the mean of the whole field, projected to `width`."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_norm_relu(in_channels, width, kernel_size=1)]
            + [conv_norm_relu(in_channels, width, kernel_size=3, dilation=rate) for rate in PYRAMID_RATES]
        )
        initialise_kaiming(self.branches)
        self.pooled = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_channels, width, 1, bias=False),
            Affine(width),
            nn.ReLU(inplace=True),
        )
        self.projection = nn.Conv2d(5 * width, width, 1, bias=False)
        self.head = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))

    def forward(self, features_NCHW: Tensor) -> Tensor:
        """Project the branches and the pooled vector apart and add them: the same sum as concatenating the vector
        tiled over H x W, without writing the tiles, and for any H x W."""
        branches = torch.cat([branch(features_NCHW) for branch in self.branches], dim=1)
        num_local = branches.shape[1]
        local_weight, pooled_weight = self.projection.weight.split(
            [num_local, self.projection.in_channels - num_local], dim=1
        )
        pooled = functional.conv2d(self.pooled(features_NCHW), pooled_weight)
        return self.head(functional.conv2d(branches, local_weight) + pooled)


class Affine(nn.Module):
    """A learned scale and offset a channel: batch norm's, where one pixel a sample leaves nothing to normalise."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(num_channels, 1, 1))

    def forward(self, features_NCHW: Tensor) -> Tensor:
        return self.weight * features_NCHW + self.bias


class Decoder(nn.Module):
    """Two doublings, the skip joined in, two more doublings."""

    def __init__(self, width: int, skip_channels: int, num_classes: int) -> None:
        super().__init__()
        self.rise = nn.Sequential(*doubling_norm_relu(width), *doubling_norm_relu(width))
        self.join = nn.Sequential(
            *conv_norm_relu(width + skip_channels, width, kernel_size=3),
            *conv_norm_relu(width, width, kernel_size=3),
            nn.Conv2d(width, width, 1),
        )
        self.finish = nn.Sequential(*doubling_norm_relu(width), doubling(width, num_classes))

    def forward(self, features_NCHW: Tensor, skip_NCHW: Tensor) -> Tensor:
        joined = torch.cat((self.rise(features_NCHW), skip_NCHW), dim=1)
        return self.finish(self.join(joined))


def conv_norm_relu(
    in_channels: int, out_channels: int, *, kernel_size: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    padding = dilation * (kernel_size // 2)
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def separable_norm_relu(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    convolution = SeparableConv2d(in_channels, out_channels, dilation=dilation)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def doubling_norm_relu(width: int) -> nn.Sequential:
    return nn.Sequential(doubling(width, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def doubling(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """A deconvolution that doubles height and width exactly."""
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=False)


def initialise_kaiming(module: nn.Module) -> None:
    """Kaiming normal for the convolutions of the encoder and the pyramid's branches; the rest keeps PyTorch's."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
