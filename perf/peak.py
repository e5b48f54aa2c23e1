# SPDX-License-Identifier: Apache-2.0
"""The machine's measured peak: the faster of a large GEMM and a 3x3 convolution, fastest repeat, in one precision."""

from functools import cache

import torch

from characterize.commands import kernels


@cache
def flops_per_s(precision: str) -> float:
    """Operations per second of this CPU in fp32 or bf16, measured once per process."""
    device = torch.device("cpu")
    rows = [
        kernels.time_kernel(kernel, "forward", precision, device=device, full=True)
        for kernel in kernels.peak_kernels(device)
    ]
    return max(row["flops"] / row["fastest_seconds"] for row in rows if row is not None)
