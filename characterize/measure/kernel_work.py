# SPDX-License-Identifier: Apache-2.0
"""Build a kernel to time: tensors on a device, and a function that runs it forward or backward.

    work = build(kernel, direction="backward", precision="bf16", device=device)
    work()

Backward computes the gradients of inputs and weights: twice the operations of the forward direction.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from characterize.measure.device import TYPES
from characterize.measure.kernel_shapes import Kernel

DIRECTIONS = ("forward", "backward")
LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
CONVOLUTIONS = {"conv2d": functional.conv2d, "conv3d": functional.conv3d}
LAYOUTS = {"conv2d": torch.channels_last, "conv3d": torch.channels_last_3d}


def build(kernel: Kernel, *, direction: str, precision: str, device: torch.device) -> Callable[[], object]:
    """Return a function that runs the kernel. RuntimeError if torch has no such kernel on this device."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if precision == "int8":
        return _int8_gemm(kernel, device)
    forward, leaves = _forward(kernel, TYPES[precision], device)
    if direction == "forward":
        for leaf in leaves:
            leaf.requires_grad_(False)
        return forward
    output = forward()
    gradient = torch.ones_like(output)
    return lambda: torch.autograd.grad(output, leaves, gradient, retain_graph=True)


def flops(kernel: Kernel, direction: str) -> int:
    return kernel.flops * (2 if direction == "backward" else 1)


def is_defined(kernel: Kernel, direction: str, precision: str) -> bool:
    """True unless int8 is asked for anything but a forward matrix product: torch has no other int8 kernels."""
    return precision != "int8" or (kernel.family == "gemm" and direction == "forward" and kernel["M"] > 16)


def _forward(kernel: Kernel, dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], Tensor], list[Tensor]]:
    """The forward operation, and the tensors whose gradients the backward direction computes."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    if kernel.family == "gemm":
        left, right = noise(kernel["M"], kernel["K"]).requires_grad_(), noise(kernel["K"], kernel["N"]).requires_grad_()
        return lambda: left @ right, [left, right]
    if kernel.family in CONVOLUTIONS:
        return _convolution(kernel, noise)
    if kernel.family == "attention":
        heads = kernel["heads"]
        shape = (kernel["N"], heads, kernel["T"], kernel["H"] // heads)
        parts = [noise(*shape).requires_grad_() for _ in range(3)]
        return lambda: functional.scaled_dot_product_attention(*parts), parts
    layer = LAYERS[kernel.family](kernel["H"], kernel["H"]).to(device, dtype)
    sequence_TNH = noise(kernel["T"], kernel["N"], kernel["H"]).requires_grad_()
    return lambda: layer(sequence_TNH)[0], [sequence_TNH, *layer.parameters()]


def _convolution(kernel: Kernel, noise: Callable[..., Tensor]) -> tuple[Callable[[], Tensor], list[Tensor]]:
    layout, convolve = LAYOUTS[kernel.family], CONVOLUTIONS[kernel.family]
    value = noise(kernel["N"], kernel["C"], *kernel["size"]).contiguous(memory_format=layout).requires_grad_()
    weight = noise(kernel["K"], kernel["C"] // kernel["groups"], *kernel["kernel"])
    weight = weight.contiguous(memory_format=layout).requires_grad_()
    padding = kernel["padding"]

    def forward() -> Tensor:
        return convolve(value, weight, stride=kernel["stride"], padding=padding, groups=kernel["groups"])

    return forward, [value, weight]


def _int8_gemm(kernel: Kernel, device: torch.device) -> Callable[[], Tensor]:
    def integers(*shape: int) -> Tensor:
        return torch.randint(-128, 127, shape, device=device, dtype=torch.int8)

    left, right = integers(kernel["M"], kernel["K"]), integers(kernel["N"], kernel["K"]).t()
    return lambda: torch._int_mm(left, right)
