# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of a forward pass or of a training step, counted without computing anything.

    with torch.device("meta"):
        model, volume_NCDHW = CosmoFlow(), torch.empty(1, 4, 128, 128, 128)
    training_flops(model, volume_NCDHW)                   # 192.1e9

A multiply-add counts as 2, as the MLPerf HPC and HPC AI500 rules count. Convolutions and matrix products are counted;
normalisation, pooling and elementwise work is not, by the same convention.
"""

import math

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def forward_flops(model: nn.Module, *inputs: Tensor) -> int:
    """Operations of model(*inputs). Tensors on the meta device cost neither memory nor time."""
    with _counter() as counter, torch.no_grad():
        model(*inputs)
    return counter.get_total_flops()


def training_flops(model: nn.Module, *inputs: Tensor) -> int:
    """Operations of model(*inputs) and of the gradients of all parameters; the optimizer's few are left out.

    model may return any tensor: the gradient of its sum takes the operations that the gradient of a loss takes.
    """
    with _counter() as counter:
        model(*inputs).sum().backward()
    for parameter in model.parameters():
        parameter.grad = None
    return counter.get_total_flops()


def _counter() -> FlopCounterMode:
    corrected = {torch.ops.aten.convolution_backward: _convolution_backward_flops}
    return FlopCounterMode(display=False, custom_mapping=corrected)


def _convolution_backward_flops(
    grad_output_shape: torch.Size,
    input_shape: torch.Size,
    weight_shape: torch.Size,
    bias_sizes: object,
    stride: object,
    padding: object,
    dilation: object,
    transposed: bool,
    output_padding: object,
    groups: int,
    output_mask: list[bool],
    out_shape: object = None,
) -> int:
    """Operations of aten.convolution_backward, groups included: torch 2.13 counts grouped ones as if they were dense.

    Each of the two gradients takes one multiply-add for every use of a weight, as the forward pass does: a weight is
    used once at every output voxel (for a transposed convolution: at every input voxel) of every sample.
    """
    positions = (input_shape if transposed else grad_output_shape)[2:]
    one_gradient = 2 * math.prod(weight_shape) * input_shape[0] * math.prod(positions)
    wanted_gradients = sum(output_mask[:2])
    return wanted_gradients * one_gradient
