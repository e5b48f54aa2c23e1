# SPDX-License-Identifier: Apache-2.0
"""Kernel: an operation with its sizes, and the kernels of the benchmarks' own layers.

    for kernel in of_benchmark(benchmark): kernel.describe(), kernel.flops

Sizes of a kernel by family:
gemm M N K; conv2d, conv3d N C K size kernel padding stride groups (size, kernel: sides); lstm, gru, rnn N T H (batch,
steps, hidden = input size); attention N T H heads.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from characterize.measure.benchmarks import Benchmark

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "int8": 1}


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One operation with its sizes."""

    family: str
    """gemm, conv2d, conv3d, lstm, gru, rnn or attention."""
    sizes: tuple[tuple[str, int | tuple[int, ...]], ...]
    source: str
    """DeepBench, peak, ours, or the benchmark that uses it."""

    def __getitem__(self, name: str):
        return dict(self.sizes)[name]

    def describe(self) -> str:
        """Format the sizes, such as `M 1760 N 16 K 1760`; usual strides, groups and paddings are left out."""
        usual = {"stride": 1, "groups": 1}
        if "kernel" in dict(self.sizes):
            usual["padding"] = tuple(width // 2 for width in self["kernel"])
        return " ".join(
            f"{name} {'x'.join(map(str, size)) if isinstance(size, tuple) else size}"
            for name, size in self.sizes
            if usual.get(name) != size
        )

    @property
    def flops(self) -> int:
        """Operations of the forward direction; a multiply-add counts as 2."""
        if self.family == "gemm":
            return 2 * self["M"] * self["N"] * self["K"]
        if self.family in ("conv2d", "conv3d"):
            outputs = self["N"] * self["K"] * math.prod(self.output_size)
            return 2 * outputs * self["C"] // self["groups"] * math.prod(self["kernel"])
        if self.family == "attention":
            return 4 * self["N"] * self["T"] ** 2 * self["H"]
        return 2 * GATES[self.family] * self["N"] * self["T"] * 2 * self["H"] ** 2

    @property
    def output_size(self) -> tuple[int, ...]:
        """Spatial sides of a convolution's output."""
        sides = zip(self["size"], self["kernel"], self["padding"], strict=True)
        return tuple((side + 2 * added - width) // self["stride"] + 1 for side, width, added in sides)

    @property
    def num_elements(self) -> int:
        """Number of input and output elements: the minimum memory traffic."""
        if self.family == "gemm":
            return self["M"] * self["K"] + self["K"] * self["N"] + self["M"] * self["N"]
        if self.family in ("conv2d", "conv3d"):
            weights = self["K"] * self["C"] // self["groups"] * math.prod(self["kernel"])
            inputs = self["N"] * self["C"] * math.prod(self["size"])
            return weights + inputs + self["N"] * self["K"] * math.prod(self.output_size)
        if self.family == "attention":
            return 4 * self["N"] * self["T"] * self["H"]
        return 2 * GATES[self.family] * self["H"] ** 2 + 2 * self["N"] * self["T"] * self["H"]

    def num_bytes(self, precision: str) -> int:
        return self.num_elements * BYTES[precision]


def gemm(m: int, n: int, k: int, source: str = "ours") -> Kernel:
    return Kernel(family="gemm", sizes=(("M", m), ("N", n), ("K", k)), source=source)


def convolution(n, c, k, size, kernel, stride=1, groups=1, *, padding=None, source="ours") -> Kernel:
    """`padding` defaults to half of the kernel."""
    padding = tuple(width // 2 for width in kernel) if padding is None else tuple(padding)
    sizes = (("N", n), ("C", c), ("K", k), ("size", tuple(size)), ("kernel", tuple(kernel)), ("padding", padding))
    return Kernel(family=f"conv{len(size)}d", sizes=(*sizes, ("stride", stride), ("groups", groups)), source=source)


def recurrent(family: str, n: int, t: int, h: int, source: str = "ours") -> Kernel:
    return Kernel(family=family, sizes=(("N", n), ("T", t), ("H", h)), source=source)


def attention(n: int, t: int, h: int, heads: int, source: str = "ours") -> Kernel:
    return Kernel(family="attention", sizes=(("N", n), ("T", t), ("H", h), ("heads", heads)), source=source)


def of_benchmark(benchmark: Benchmark, most: int | None = None, *, small: bool = False) -> list[Kernel]:
    """Convolutions and dense layers of the benchmark's network for one sample, sorted by decreasing operations."""
    size = benchmark.small_size if small else benchmark.reference_size
    kernels: list[Kernel] = []

    def note(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        kernel = _of_layer(layer, inputs[0], benchmark.name)
        if kernel is not None and kernel not in kernels:
            kernels.append(kernel)

    with torch.device("meta"):
        model, batch = benchmark.make_model(size), benchmark.make_batch(1, size)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        benchmark.forward(model, batch)
    for handle in handles:
        handle.remove()
    return sorted(kernels, key=lambda kernel: -kernel.flops)[:most]


def _of_layer(layer: nn.Module, value: torch.Tensor, source: str) -> Kernel | None:
    if isinstance(layer, nn.Linear):
        return gemm(value.numel() // layer.in_features, layer.out_features, layer.in_features, source)
    if max(layer.dilation) > 1:
        return None  # dilated layers need another padding than Kernel.output_size assumes
    return convolution(
        value.shape[0],
        layer.in_channels,
        layer.out_channels,
        value.shape[2:],
        layer.kernel_size,
        layer.stride[0],
        layer.groups,
        source=source,
    )
