# SPDX-License-Identifier: Apache-2.0
"""Two nodes of two ranks that read the listings of a data set; each rank prints what it has read and what it got.

python -m tests.harness.data.listing_ranks STORE FOLDER_OF_NODE_0 FOLDER_OF_NODE_1
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from compliance.files.errors import UserError
from harness.data import listings, manifest
from harness.distributed.world import World
from tests.harness import forked_ranks

bytes_read = []


def read(rank: int, num_ranks: int, store: Path, *folders: Path) -> None:
    plain = manifest.read

    def counting(*arguments: object) -> bytes:
        content = plain(*arguments)
        bytes_read.append(len(content))
        return content

    manifest.read = counting
    options = {"rank": rank, "world_size": num_ranks, "timeout": timedelta(seconds=100)}
    dist.init_process_group("gloo", store=dist.FileStore(str(store), num_ranks), **options)
    world = World(rank=rank, num_ranks=num_ranks, local_rank=rank % 2, ranks_per_node=2)
    folder = folders[world.node_index]
    try:
        listed = listings.read_for_all(folder, world).parsed(folder)
        found = listed and listed.benchmark
    except UserError as error:
        found = f"{type(error).__name__}: {error}"
    print(json.dumps({"rank": rank, "bytes_read": bytes_read, "found": found}) + "\n", end="", flush=True)
    world.barrier()


if __name__ == "__main__":
    sys.exit(forked_ranks.run(read, 4, *map(Path, sys.argv[1:])))
