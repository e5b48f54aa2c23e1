# SPDX-License-Identifier: Apache-2.0
"""The convolutions and matrix products of a model: recorded from a forward pass, computed again on random tensors.

operators = record(model, lambda: model(batch))         # Counter({Operator(...): times})
x, w = operator.operands(device)
y = operator.forward(x, w)
dx, dw = operator.backward(dy, x, w)
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

MAX_ELEMENTS = 2**24
"""Elements of an operator's largest tensor, 64 MiB in fp32; a larger batch is computed with fewer samples."""


@dataclass(frozen=True, kw_only=True, order=True)
class Operator:
    """A convolution or a matrix product y of the input x and the weight w."""

    input_shape: tuple[int, ...]
    """(N, C, ...) of a convolution, (M, K) of a matrix product."""
    weight_shape: tuple[int, ...]
    """(C_out, C_in / groups, ...) of a convolution, (K, L) of a matrix product."""
    channels_last: bool = False
    in_fp32: bool = False
    """True if it computes in fp32 although the precision of the run is another, such as CosmoFlow's dense layers."""
    settings: tuple[Any, ...] = ()
    """Stride, padding, dilation, transposed, output padding and groups; empty for a matrix product."""

    def __str__(self) -> str:
        kind = f"{len(self.input_shape) - 2}D convolution" if self.settings else "matrix product"
        return f"{kind} of {_text(self.input_shape)} with {_text(self.weight_shape)}"

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """y of x and w, in their type."""
        return torch.ops.aten.convolution(x, w, None, *self.settings) if self.settings else x @ w

    def backward(self, dy: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of x and w."""
        if not self.settings:
            return dy @ w.T, x.T @ dy
        dx, dw, _ = torch.ops.aten.convolution_backward(dy, x, w, None, *self.settings, [True, True, False])
        return dx, dw

    def operands(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """x and w in fp32, always the same values: x of variance 1, and w so that y has about that too."""
        generator = torch.Generator(device).manual_seed(1)
        x = torch.randn(self._bounded_input(), generator=generator, device=device)
        w = torch.randn(self.weight_shape, generator=generator, device=device)
        w /= (w.numel() / w.shape[0 if self.settings else 1]) ** 0.5
        return (self._ordered(x), self._ordered(w))

    def _bounded_input(self) -> tuple[int, ...]:
        num_samples, *sample = self.input_shape
        widest = max(torch.Size(sample).numel(), self._num_outputs() // max(num_samples, 1))
        return (max(1, min(num_samples, MAX_ELEMENTS // max(widest, 1))), *sample)

    def _num_outputs(self) -> int:
        with torch.device("meta"):
            return self.forward(torch.empty(self.input_shape), torch.empty(self.weight_shape)).numel()

    def _ordered(self, tensor: Tensor) -> Tensor:
        if not self.channels_last:
            return tensor
        return tensor.contiguous(memory_format=torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d)


def record(model: nn.Module, forward: Callable[[], object]) -> Counter[Operator]:
    """The convolutions and matrix products of a forward pass, and how often each is computed.

    The pass is one of evaluation: it draws no random number and changes no running statistics.
    """
    recorder, was_training = _Recorder(), model.training
    model.eval()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"), recorder:
            forward()
    finally:
        model.train(was_training)
    return recorder.operators


class _Recorder(TorchDispatchMode):
    """Counts the operators that pass through PyTorch's dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[Operator] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        packet = func.overloadpacket
        if packet is torch.ops.aten.convolution:
            x, w, _, *settings = args
            frozen = tuple(tuple(setting) if isinstance(setting, list) else setting for setting in settings)
            self._count(x, w, frozen)
        elif packet in (torch.ops.aten.mm, torch.ops.aten.addmm):
            x, w = args[-2:]
            self._count(x, w, ())
        return func(*args, **(kwargs or {}))

    def _count(self, x: Tensor, w: Tensor, settings: tuple[Any, ...]) -> None:
        if x.layout == torch.strided and x.numel() and w.numel():  # RoIAlign on a CPU is a sparse product in fp32
            operator = Operator(
                input_shape=tuple(x.shape),
                weight_shape=tuple(w.shape),
                channels_last=_is_channels_last(x),
                in_fp32=x.dtype == torch.float32,
                settings=settings,
            )
            self.operators[operator] += 1


def _is_channels_last(x: Tensor) -> bool:
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.ndim in orders and not x.is_contiguous() and x.is_contiguous(memory_format=orders[x.ndim])


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
