# SPDX-License-Identifier: Apache-2.0
"""A rank that perf.process_groups starts: times all-reduces and training steps with one backend.

mpiexec -n 2 python -m perf.process_groups_rank mpi
"""

import json
import os
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from harness.distributed.world import World, launch
from perf.communication_rank import Cosmology

LARGE_BYTES, SMALL_BYTES = 64 << 20, 8
NUM_LARGE, NUM_SMALL, NUM_STEPS = 5, 200, 5


def main(backend: str) -> None:
    """Print seconds of a large all-reduce, of a small one, and of a step, as medians on the slowest rank."""
    torch.set_num_threads(1)
    with launch(backend=backend) as world:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[world.rank % len(os.sched_getaffinity(0))]})
        large, small = (torch.ones(num_bytes // 4) for num_bytes in (LARGE_BYTES, SMALL_BYTES))
        torch.manual_seed(1)
        model = DistributedDataParallel(Cosmology(), gradient_as_bucket_view=True)
        seconds = {
            "large": timed(world, lambda: dist.all_reduce(large), NUM_LARGE),
            "small": timed(world, lambda: dist.all_reduce(small), NUM_SMALL),
            "step": timed(world, lambda: model().backward(), NUM_STEPS),
        }
        if world.rank == 0:
            print(json.dumps(seconds))


def timed(world: World, work: Callable[[], object], num_times: int) -> float:
    """Median seconds of the work after one warm-up, on the slowest rank."""
    work()
    times = []
    for _ in range(num_times):
        world.barrier()
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return max(world.all_gather(median(times)))


if __name__ == "__main__":
    main(sys.argv[1])
