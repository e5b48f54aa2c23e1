# SPDX-License-Identifier: Apache-2.0
"""A rank that perf.communication starts at each end of a link: times training steps with each compression, in turn.

python -m perf.communication_rank ewa_fasterrcnn
"""

import json
import os
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.parallel import DistributedDataParallel

from cosmoflow.model import CosmoFlow, log_counts
from ewa_fasterrcnn.model.box_head import Truth
from ewa_fasterrcnn.model.faster_rcnn import FasterRCNN
from harness.distributed.gradient_compression import compress_gradients
from harness.distributed.world import World, launch

NUM_WARM_UP_STEPS = 1
NUM_STEPS = 6
VARIANTS = ("none", "fp16", "bf16", "no exchange")
EWA_PIXELS, COSMOFLOW_VOXELS, COSMOFLOW_BATCH = 64, 64, 4


class EWA(nn.Module):
    """The whole network of 41 million parameters, on one small image with few regions: little to compute."""

    def __init__(self) -> None:
        """Make the network and its input, from torch's current seed."""
        super().__init__()
        self.network = FasterRCNN(num_proposals=50, num_sampled_regions=16)
        self.fields_NCHW = torch.randn(1, 16, EWA_PIXELS, EWA_PIXELS)
        self.truth, self.keys_N = Truth.of_rows(torch.tensor([[[10.0, 10.0, 50.0, 50.0, 1.0]]])), torch.tensor([1])

    def forward(self) -> Tensor:
        return self.network(self.fields_NCHW, self.truth, self.keys_N).sum()


class Cosmology(nn.Module):
    """CosmoFlow on volumes of half the edge: much to compute for 5 million parameters."""

    def __init__(self) -> None:
        """Make the network and its input, from torch's current seed."""
        super().__init__()
        self.network = CosmoFlow(input_size=COSMOFLOW_VOXELS, pool_first=True)
        side = COSMOFLOW_VOXELS
        self.counts_NCDHW = torch.poisson(torch.ones(COSMOFLOW_BATCH, 4, side, side, side))
        self.target_NT = torch.zeros(COSMOFLOW_BATCH, 4)

    def forward(self) -> Tensor:
        return mse_loss(self.network(log_counts(self.counts_NCDHW)), self.target_NT)


BENCHMARKS = {"ewa_fasterrcnn": EWA, "cosmoflow": Cosmology}


def main(benchmark: str) -> None:
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[int(os.environ["RANK"]) % os.cpu_count()]})
    torch.set_num_threads(1)
    with launch() as world:
        steps = {variant: step_of(BENCHMARKS[benchmark], variant) for variant in VARIANTS}
        times = {variant: [] for variant in VARIANTS}
        for number in range(NUM_WARM_UP_STEPS + NUM_STEPS):
            for variant, step in steps.items():
                seconds = slowest(world, step)
                if number >= NUM_WARM_UP_STEPS:
                    times[variant].append(seconds)
        if world.rank == 0:
            network = BENCHMARKS[benchmark]().network
            print(json.dumps({"step_s": times, "num_parameters": sum(p.numel() for p in network.parameters())}))


def step_of(build: type[nn.Module], variant: str) -> Callable[[], None]:
    """A forward and backward pass with the exchange of gradients; "no exchange" leaves the exchange out."""
    torch.manual_seed(1)
    model = build()
    if variant != "no exchange":
        model = DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
        compress_gradients(model, variant)

    def step() -> None:
        model.zero_grad()
        model().backward()

    return step


def slowest(world: World, step: Callable[[], None]) -> float:
    """Seconds of the step on the slowest rank; all ranks begin together."""
    world.barrier()
    start = time.perf_counter()
    step()
    own = torch.zeros(world.num_ranks, dtype=torch.float64)
    own[world.rank] = time.perf_counter() - start
    return float(world.all_reduce_sum(own).max())


if __name__ == "__main__":
    main(sys.argv[1])
