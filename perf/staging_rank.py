# SPDX-License-Identifier: Apache-2.0
"""A node that perf.staging starts at each end of a link: stages from a shared source, together and each by itself.

python -m perf.staging_rank SOURCE TARGET NUM_TURNS
"""

import json
import shutil
import sys
import time
from pathlib import Path

from harness.distributed.world import World, launch
from harness.page_cache import drop_caches
from harness.staging.stage import stage


def main(source: Path, target: Path, num_turns: int) -> None:
    with launch(num_ranks=2) as world:
        target = target / f"node_{world.rank}"
        seconds = {"together": [], "each": []}
        for _ in range(num_turns):
            for way, times in seconds.items():
                times.append(_slowest(world, source, target, world if way == "together" else World()))
        if world.rank == 0:
            print(json.dumps(seconds))


def _slowest(world: World, source: Path, target: Path, staging_world: World) -> float:
    """Seconds until both nodes have the data, from cold caches."""
    shutil.rmtree(target, ignore_errors=True)
    drop_caches(source)
    world.barrier()
    start = time.perf_counter()
    stage(source, target, world=staging_world)
    world.barrier()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
