# SPDX-License-Identifier: Apache-2.0
"""A model on its device, and its replica on every rank, whose backward pass averages gradients over the ranks.

model = data_parallel.place(DeepCAM(), system, world.device)
replica = data_parallel.replicate(model, world, **data_parallel.exchange_settings(system))
fields_NCHW = fields_NCHW.contiguous(memory_format=data_parallel.memory_format(system))
"""

import warnings
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from harness.distributed.world import World
from harness.system_settings import SystemSettings

Model = TypeVar("Model", bound=nn.Module)


def memory_format(system: SystemSettings, *, num_dimensions: int = 2) -> torch.memory_format:
    """Memory order of weights and features with so many spatial dimensions, 2 or 3."""
    if not system.channels_last:
        return torch.contiguous_format
    return torch.channels_last if num_dimensions == 2 else torch.channels_last_3d


def place(model: Model, system: SystemSettings, device: torch.device, *, num_dimensions: int = 2) -> Model:
    """The model on the device, in the memory order that the system asks for, and compiled if it asks for that.

    cuDNN times its algorithms from then on, if the system asks for that.
    """
    torch.backends.cudnn.benchmark = system.cudnn_benchmark
    model = model.to(device)
    model.to(memory_format=memory_format(system, num_dimensions=num_dimensions))  # type: ignore[call-overload]
    if system.compile:
        model.compile()
    return model


def exchange_settings(system: SystemSettings) -> dict[str, Any]:
    """The arguments of replicate() that system.toml sets."""
    return {
        "bucket_mebibytes": system.bucket_mebibytes,
        "gradient_as_bucket_view": system.gradient_as_bucket_view,
        "static_graph": system.static_graph,
    }


def replicate(
    model: nn.Module,
    world: World,
    *,
    bucket_mebibytes: float = 25.0,
    gradient_as_bucket_view: bool = True,
    static_graph: bool = False,
) -> nn.Module:
    """The model with its gradients averaged over ranks; the model itself if there is one rank.

    Buffers are not exchanged: running statistics of batch norms stay each rank's own until an evaluation.
    """
    if world.num_ranks == 1:
        return model
    with warnings.catch_warnings():
        # PyTorch 2.13 announces another name for broadcast_buffers, which older versions do not know.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
        return DistributedDataParallel(
            model,
            broadcast_buffers=False,
            gradient_as_bucket_view=gradient_as_bucket_view,
            static_graph=static_graph,
            bucket_cap_mb=bucket_mebibytes,
        )
