# SPDX-License-Identifier: Apache-2.0
"""Many ranks for a test, at the cost of one import of PyTorch: processes that a script forks.

sys.exit(forked_ranks.run(work, 16, *arguments))      # runs work(rank, 16, *arguments) in each; 0 if none failed
"""

import multiprocessing
import os
from collections.abc import Callable

import torch


def run(work: Callable[..., None], num_ranks: int, *arguments: object) -> int:
    """Number of processes that failed. To be called by a script of its own, which has not used PyTorch before."""
    os.environ["TORCH_GLOO_LAZY_INIT"] = "1"  # as harness.distributed.world sets it
    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=work, args=(rank, num_ranks, *arguments)) for rank in range(num_ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(process.exitcode != 0 for process in processes)
