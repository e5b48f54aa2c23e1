# SPDX-License-Identifier: Apache-2.0
"""Ranks of one node that cache a CosmoFlow data set; each prints its memory and a checksum of its samples.

python -m tests.harness.data.cached_ranks DATA STORE NUM_RANKS
"""

import hashlib
import json
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import torch.distributed as dist

from compliance.files.errors import UserError
from cosmoflow.data import open_split
from harness import local_copy
from harness.distributed.world import World
from tests.harness import forked_ranks


def cache(rank: int, num_ranks: int, data: Path, store: Path) -> None:
    """Cache, and print what came of it."""
    if num_ranks > 1:
        options = {"rank": rank, "world_size": num_ranks, "timeout": timedelta(seconds=100)}
        dist.init_process_group("gloo", store=dist.FileStore(str(store), num_ranks), **options)
    world = World(rank=rank, num_ranks=num_ranks, local_rank=rank, ranks_per_node=num_ranks)
    dataset = open_split(data, "train", rank=rank, num_ranks=num_ranks)
    before = psutil.Process().memory_full_info().pss
    world.barrier()
    system = SimpleNamespace(staging_folder=None, cache=True)
    try:
        local_copy.stage_and_cache(SimpleNamespace(config=SimpleNamespace(system=system), world=world), dataset)
        digest = hashlib.sha256(dataset.batch(range(len(dataset)))[0].contiguous().numpy()).hexdigest()
        world.barrier()
        print_line(num_bytes=psutil.Process().memory_full_info().pss - before, digest=digest)
        world.barrier()
    except UserError as error:
        print_line(error=f"{type(error).__name__}: {error}")


def print_line(**values: object) -> None:
    """One write, as other ranks print too."""
    print(json.dumps(values) + "\n", end="", flush=True)


if __name__ == "__main__":
    sys.exit(forked_ranks.run(cache, int(sys.argv[3]), Path(sys.argv[1]), Path(sys.argv[2])))
