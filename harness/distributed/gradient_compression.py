# SPDX-License-Identifier: Apache-2.0
"""Gradients rounded to two bytes on their way between the ranks, over gloo and NCCL alike.

    model = DistributedDataParallel(model)
    compress_gradients(model, "bf16")                    # or "fp16"; "none" leaves fp32

HPC AI500 V2.0 allows gradient compression (section 6.1.6, and its measurements in section 8.3). PyTorch's own hook for
bf16 refuses gloo, and its one for fp16 rounds before it divides; here each rank divides its gradients by the number of
ranks in fp32, where no sum of them can exceed fp16's range unless their mean does, and rounds then.
"""

from typing import Literal

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

Compression = Literal["none", "bf16", "fp16"]
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def compress_gradients(model: DistributedDataParallel, compression: Compression) -> None:
    """Let the ranks' gradients travel in the given type; the averages are fp32 again. Call it once, before training."""
    if compression != "none":
        model.register_comm_hook(TYPES[compression], average_rounded)


def average_rounded(dtype: torch.dtype, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A communication hook of DistributedDataParallel: the mean over the ranks of a bucket of gradients."""
    gradients = bucket.buffer()
    rounded = (gradients / dist.get_world_size()).to(dtype)
    work = dist.all_reduce(rounded, async_op=True)
    return work.get_future().then(lambda done: gradients.copy_(done.value()[0]))
