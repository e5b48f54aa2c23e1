# SPDX-License-Identifier: Apache-2.0
"""The CosmoFlow network; the default arguments are the MLPerf HPC reference of rounds v1.0 and later.

    model = CosmoFlow()                                   # 8,907,556 parameters
    prediction_NT = model(log_counts(counts_NCDHW))       # int16 counts in, (N, 4) in [-1.2, 1.2] out

Shapes: N samples, C redshifts, D H W voxels, T target parameters in the order Omega_M, sigma_8, n_s, H_0.
Source: Mathuriya et al., "CosmoFlow: using deep learning to learn the universe at scale" (SC 2018), as restated by
the reference implementation of MLPerf HPC.
"""

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn

from compliance.files.errors import UserError

BLOCK_FILTERS = (32, 64, 128, 256, 512)
"""Filters of the five convolution blocks; each block halves the volume's sides."""
NEGATIVE_SLOPE = 0.3
"""LeakyReLU slope of the reference (Keras' default; torch's default is 0.01)."""
OUTPUT_SCALE = 1.2
"""The output is 1.2 tanh: targets lie in [-1, 1] and must not sit where tanh is flat."""


def log_counts(counts_NCDHW: Tensor) -> Tensor:
    """log(1 + particle count), always computed in fp32: bf16 cannot tell the counts above 256 apart."""
    return torch.log1p(counts_NCDHW.float())


class CosmoFlow(nn.Module):
    """Five blocks of convolution, LeakyReLU and pooling, then three dense layers.

    input_size: voxels a side, a multiple of 32.  kernel_size: 3, or 2 as in round v0.7 (5,597,604 parameters).
    pool_first: pool before the activation. Both are monotone, so the values are the same to the last bit, while the
    activation reads and writes an eighth of the memory.
    """

    def __init__(
        self,
        *,
        input_size: int = 128,
        num_channels: int = 4,
        num_targets: int = 4,
        kernel_size: int = 3,
        dropout: float = 0.5,
        pool_first: bool = False,
    ):
        super().__init__()
        shrink = 2 ** len(BLOCK_FILTERS)
        if input_size < shrink or input_size % shrink:
            raise UserError(
                f"input_size is {input_size}, expected a multiple of {shrink}: every block halves the sides"
            )
        channels = (num_channels, *BLOCK_FILTERS)
        self.blocks = nn.Sequential(
            *(_block(c_in, c_out, kernel_size, pool_first) for c_in, c_out in pairwise(channels))
        )
        self.hidden1 = nn.Linear(BLOCK_FILTERS[-1] * (input_size // shrink) ** 3, 128)
        self.hidden2 = nn.Linear(128, 64)
        self.output = nn.Linear(64, num_targets)
        self.activation = nn.LeakyReLU(NEGATIVE_SLOPE)
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def forward(self, volume_NCDHW: Tensor) -> Tensor:
        """(N, C, D, H, W) of log counts -> (N, T) of normalised targets, in fp32 whatever the precision."""
        features_NCDHW = self.blocks(volume_NCDHW)
        with _fp32(volume_NCDHW.device):
            # The order is C, D, H, W in any memory format; Keras weights flatten D, H, W, C and need a permutation.
            return self._head(features_NCDHW.flatten(1).float())

    def _head(self, features_NF: Tensor) -> Tensor:
        """The dense layers. In bf16, tanh alone would be wrong by up to 0.0055, and the target is 0.124."""
        features_NF = self.dropout(self.activation(self.hidden1(features_NF)))
        features_NF = self.dropout(self.activation(self.hidden2(features_NF)))
        return OUTPUT_SCALE * torch.tanh(self.output(features_NF))

    def reset_parameters(self) -> None:
        """Keras' initial state: Glorot-uniform kernels, zero biases; drawn from torch's default generator."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def decayed_kernels(self) -> list[nn.Parameter]:
        """The two kernels under L2 regularisation: the hidden dense layers' (reference, rounds v1.0 and later)."""
        return [self.hidden1.weight, self.hidden2.weight]


def _fp32(device: torch.device) -> AbstractContextManager:
    """A context without autocast; the meta device, on which operations are counted, has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def _block(in_channels: int, out_channels: int, kernel_size: int, pool_first: bool) -> nn.Sequential:
    # padding="same" puts the odd voxel of an even kernel after the data, as Keras does.
    convolution = nn.Conv3d(in_channels, out_channels, kernel_size, padding="same")
    activation, pool = nn.LeakyReLU(NEGATIVE_SLOPE), nn.MaxPool3d(2)
    return nn.Sequential(convolution, *((pool, activation) if pool_first else (activation, pool)))
