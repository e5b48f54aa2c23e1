# SPDX-License-Identifier: Apache-2.0
"""Kernels with the shapes of DeepBench's training set, from deepbench_training.csv.

    len(training_shapes())                    # 225: GEMM, convolutions and recurrent layers

The shapes are DeepBench's, the rules for recurrent layers are not: DeepBench skips the projection of the input
(CUDNN_SKIP_INPUT) and times the gradients of the data only. These kernels have the projection and all gradients, as
PyTorch's layers do. DeepBench times backward convolutions apart for inputs and weights, here they are timed together.
"""

import csv
from importlib.resources import files
from pathlib import Path

from characterize.measure.kernel_shapes import Kernel, attention, convolution, gemm, recurrent

SOURCE = "DeepBench"
OWN_RULES = "DeepBench, own rules"
"""DeepBench's shape, measured by other rules."""
QUICK = (
    "gemm M 1760 N 16 K 1760",
    "gemm M 1760 N 128 K 1760",
    "gemm M 2560 N 64 K 2560",
    "gemm M 1024 N 700 K 512",
    "conv2d N 8 C 64 K 64 size 54x54 kernel 3x3",
    "conv2d N 8 C 128 K 256 size 14x14 kernel 3x3",
    "conv2d N 16 C 832 K 256 size 7x7 kernel 1x1",
    "conv2d N 16 C 3 K 64 size 224x224 kernel 7x7 stride 2",
    "rnn N 16 T 50 H 1760",
    "lstm N 16 T 25 H 512",
    "gru N 32 T 1 H 512",
)
"""A few shapes of each family that take seconds on a CPU."""


def shapes(full: bool = False) -> list[Kernel]:
    """The training set with `full`, otherwise a few of its shapes; and attention, which DeepBench does not have."""
    training = training_shapes()
    chosen = training if full else [kernel for kernel in training if f"{kernel.family} {kernel.describe()}" in QUICK]
    lengths = (512, 1024, 2048) if full else (512,)
    return [*chosen, *(attention(2, length, 768, 12) for length in lengths)]


def training_shapes() -> list[Kernel]:
    """All distinct shapes of the training set."""
    text = Path(str(files("characterize").joinpath("measure/deepbench_training.csv"))).read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return [_kernel(row["family"], row["sizes"]) for row in rows]


def _kernel(family: str, sizes: str) -> Kernel:
    of = {name: int(value) for name, value in (pair.split("=") for pair in sizes.split())}
    if family == "gemm":
        return gemm(of["M"], of["N"], of["K"], SOURCE)
    if family == "conv2d":
        size, kernel, padding = (of["H"], of["W"]), (of["R"], of["S"]), (of["P"], of["Q"])
        counts = (of["N"], of["C"], of["K"])
        return convolution(*counts, size, kernel, of["stride"], padding=padding, source=SOURCE)
    return recurrent(family, of["N"], of["T"], of["H"], OWN_RULES)
