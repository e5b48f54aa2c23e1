# SPDX-License-Identifier: Apache-2.0
"""The train command with batch norms that see the joint batch of all ranks, so that two ranks compute what one does.

torchrun --nproc-per-node 2 tests/imagenet_resnet/joint_batch_norm.py WEIGHTS.pt --config ... --data ... --output ...
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from harness.distributed import batch_norm
from imagenet_resnet import train


def main(weights: str, *arguments: str) -> None:
    build, models = train.new_model, []

    def joint_model(hyperparameters):
        group = batch_norm.process_group(dist.get_world_size()) if dist.is_initialized() else None
        models.append(batch_norm.convert(build(hyperparameters), group))
        return models[-1]

    train.flops_per_image = lambda hyperparameters: 1  # counting needs no process group, and no converted network
    train.new_model = joint_model
    torch.set_num_threads(1)
    train.main(list(arguments))
    values = {name: value.float() for name, value in models[-1].state_dict().items()}
    models.clear()  # their group would outlive the run
    torch.save(values, f"{weights}.{os.getpid()}")  # both ranks hold the same
    Path(f"{weights}.{os.getpid()}").replace(weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
