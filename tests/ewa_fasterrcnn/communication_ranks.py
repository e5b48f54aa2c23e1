# SPDX-License-Identifier: Apache-2.0
"""The ranks of test_gradient_exchange.py: a step with each setting; rank 0 writes the results."""

import itertools
import json
import sys
from pathlib import Path

import torch
from torch import nn

from ewa_fasterrcnn.gradient_exchange import GradientExchange
from harness.distributed.world import launch

SETTINGS = itertools.product((True, False), ("none", "bf16", "fp16"), (0.001, 25.0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))


def rows(rank: int) -> torch.Tensor:
    return torch.randn(4, 20, generator=torch.Generator().manual_seed(rank))


def main(path: Path) -> None:
    results = []
    with launch() as world:
        for overlap, compression, bucket_mebibytes in SETTINGS:
            exchange = GradientExchange(
                network(), world, bucket_mebibytes=bucket_mebibytes, overlap=overlap, compression=compression
            )
            for _ in range(2):  # DistributedDataParallel forms its buckets anew after the first step
                exchange.replica.zero_grad()
                exchange.replica(rows(world.rank)).square().mean().backward()
                exchange.finish()
            results.append(
                {
                    "overlap": overlap,
                    "compression": compression,
                    "bucket_mebibytes": bucket_mebibytes,
                    "gradients": [parameter.grad.tolist() for parameter in exchange.replica.parameters()],
                    "num_all_reduces": exchange.traffic.num_all_reduces,
                    "num_bytes": exchange.traffic.num_bytes,
                }
            )
        if world.rank == 0:
            path.write_text(json.dumps(results))
        world.barrier()  # no rank leaves before the results are written


if __name__ == "__main__":
    main(Path(sys.argv[1]))
