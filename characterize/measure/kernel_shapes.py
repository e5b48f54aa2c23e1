# SPDX-License-Identifier: Apache-2.0
"""Shapes of the kernels to time: DeepBench's training shapes, and those of the benchmarks' own layers.

    for kernel in deepbench() + of_benchmark(BENCHMARKS["cosmoflow"]): kernel.describe(), kernel.flops

Sizes of a kernel by family:
gemm M N K; conv2d, conv3d N C K size kernel stride groups (size, kernel: sides); lstm, gru, rnn N T H (batch, steps,
hidden = input size); attention N T H heads.
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
    """deepbench, peak, or the benchmark that uses it."""

    def __getitem__(self, name: str):
        return dict(self.sizes)[name]

    def describe(self) -> str:
        """Format the sizes, such as `M 1760 N 16 K 1760`."""
        return " ".join(
            f"{name} {'x'.join(map(str, size)) if isinstance(size, tuple) else size}" for name, size in self.sizes
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
        """Spatial sides of a convolution's output with padding of half the kernel."""
        sides = zip(self["size"], self["kernel"], strict=True)
        return tuple((side + 2 * (width // 2) - width) // self["stride"] + 1 for side, width in sides)

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


def gemm(m: int, n: int, k: int, source: str = "deepbench") -> Kernel:
    return Kernel(family="gemm", sizes=(("M", m), ("N", n), ("K", k)), source=source)


def convolution(n, c, k, size, kernel, stride=1, groups=1, source="deepbench") -> Kernel:
    family = f"conv{len(size)}d"
    sizes = (("N", n), ("C", c), ("K", k), ("size", tuple(size)), ("kernel", tuple(kernel)))
    return Kernel(family=family, sizes=(*sizes, ("stride", stride), ("groups", groups)), source=source)


def recurrent(family: str, n: int, t: int, h: int) -> Kernel:
    return Kernel(family=family, sizes=(("N", n), ("T", t), ("H", h)), source="deepbench")


def attention(n: int, t: int, h: int, heads: int) -> Kernel:
    return Kernel(family="attention", sizes=(("N", n), ("T", t), ("H", h), ("heads", heads)), source="transformer")


def deepbench(full: bool = False) -> list[Kernel]:
    """A few shapes of each family; many more with `full`."""
    return [*_QUICK, *(_FULL if full else [])]


_QUICK = [
    gemm(1760, 16, 1760),
    gemm(1760, 128, 1760),
    gemm(2560, 64, 2560),
    gemm(5124, 700, 2048),
    convolution(8, 64, 64, (54, 54), (3, 3)),
    convolution(8, 128, 256, (14, 14), (3, 3)),
    convolution(8, 832, 256, (7, 7), (1, 1)),
    convolution(8, 3, 64, (224, 224), (7, 7), stride=2),
    recurrent("rnn", 16, 50, 1760),
    recurrent("lstm", 16, 25, 512),
    recurrent("gru", 32, 25, 512),
    attention(2, 512, 768, 12),
]
_FULL = [
    *(gemm(size, n, size) for size in (1760, 2048, 2560, 4096) for n in (16, 32, 64, 128, 7000)),
    gemm(35, 700, 2048),
    gemm(35, 700, 2560),
    gemm(5124, 700, 2560),
    gemm(7680, 1500, 2560),
    gemm(3072, 128, 1024),
    *(convolution(n, 64, 64, (54, 54), (3, 3)) for n in (16,)),
    *(convolution(n, 128, 128, (27, 27), (3, 3)) for n in (8, 16)),
    *(convolution(n, 256, 512, (7, 7), (3, 3)) for n in (8, 16)),
    *(convolution(16, c, k, (side, side), (3, 3)) for side, c, k in ((112, 64, 128), (56, 128, 256), (28, 256, 512))),
    convolution(16, 192, 32, (28, 28), (5, 5)),
    convolution(16, 192, 64, (28, 28), (1, 1)),
    convolution(16, 512, 48, (14, 14), (1, 1)),
    *(recurrent("rnn", n, 50, size) for n in (32, 64, 128) for size in (1760, 2048, 2560)),
    *(recurrent("lstm", n, 25, size) for n in (32, 64, 128) for size in (512, 1024, 2048)),
    *(recurrent("gru", n, 25, size) for n in (32, 64) for size in (1024, 2048)),
    *(attention(2, t, 1024, 16) for t in (1024, 2048)),
]


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
        source,
    )
