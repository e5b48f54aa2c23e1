# SPDX-License-Identifier: Apache-2.0
"""Tensors on a device that does not exist: they have shapes, types and devices, but no values.

    with fake_accelerator() as device:
        model = CosmoFlow(input_size=32).to(device)
        model(torch.zeros(2, 4, 32, 32, 32, device=device))         # raises if an operand is on the CPU

An operation whose operands are on different devices raises, as it would on an accelerator; so does reading a value.
The device is "cuda:0" in a PyTorch that was built with CUDA or ROCm, else "meta", which knows no autocast and no fused
optimizers. What a kernel computes, and which operations an accelerator is missing, only an accelerator can show.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

HAS_CUDA = torch.version.cuda is not None or torch.version.hip is not None
"""True if PyTorch was built for accelerators; gradients of fake CUDA tensors need that."""


@contextmanager
def fake_accelerator() -> Iterator[torch.device]:
    """A block in which tensors can be made on the device that it yields."""
    with (
        FakeTensorMode(),
        _Bindings(),
        patch.object(nn.Module, "to", _moved),
        patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False),
        patch("torch.cuda.is_bf16_supported", return_value=True),
        patch("torch.optim.optimizer._get_fused_kernels_supported_devices", return_value=["cuda", "meta"]),
    ):
        yield torch.device("cuda", 0) if HAS_CUDA else torch.device("meta")


class _Bindings(TorchFunctionMode):
    """Python bindings that do not know fake tensors of every device, by other operations."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.contiguous:
            order = kwargs.get("memory_format", torch.contiguous_format)
            return args[0] if args[0].is_contiguous(memory_format=order) else args[0].clone(memory_format=order)
        if function is torch.tensor:
            device = kwargs.pop("device", "cpu")
            return function(*args, **kwargs).to(device)
        return function(*args, **kwargs)


def _moved(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """Module.to() with new parameters: PyTorch's own swaps tensors, which fake tensors do not allow."""
    for child in module.modules():
        for name, parameter in child._parameters.items():
            if parameter is not None:
                child._parameters[name] = nn.Parameter(_tensor_to(parameter.detach(), *args, **kwargs))
        for name, buffer in child._buffers.items():
            if buffer is not None:
                child._buffers[name] = _tensor_to(buffer, *args, **kwargs)
    return module


def _tensor_to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if "memory_format" in kwargs and tensor.ndim not in (4, 5):  # other tensors have no such order
        return tensor
    return tensor.to(*args, **kwargs)
