# SPDX-License-Identifier: Apache-2.0
"""Counts what staging costs each of several nodes, which are forked processes; prints one JSON object per node.

python -m tests.harness.staging.exchange_counts SOURCE TARGET NUM_NODES
"""

import json
import sys
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import torch.distributed as dist

from harness.data import manifest
from harness.distributed.world import World
from harness.staging import direct_io, node_exchange
from harness.staging import stage as stage_module
from harness.staging.units import MIN_UNIT_BYTES
from tests.harness import forked_ranks

counts = {"connections": 0, "store_requests": 0, "listings_read": 0, "bytes_read": 0, "bytes_of_payloads": 0}


class CountingStore(dist.Store):
    """A store that counts the requests of this process."""

    def __init__(self, store: dist.Store) -> None:
        super().__init__()
        self._store = store

    def _counted(name: str) -> Any:
        def request(self: "CountingStore", *arguments: Any) -> Any:
            counts["store_requests"] += 1
            return getattr(self._store, name)(*arguments)

        return request

    set, get, add, wait, check, num_keys, delete_key = map(
        _counted, ("set", "get", "add", "wait", "check", "num_keys", "delete_key")
    )


class CountingNodes(node_exchange.Nodes):
    """Nodes that count their connections just before they close them."""

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        connections = psutil.Process().net_connections("tcp")
        counts["connections"] = sum(connection.status == psutil.CONN_ESTABLISHED for connection in connections)
        super().__exit__(kind, error, traceback)


def count(function: Any, name: str, amount: Any) -> Any:
    """The function, which adds amount(result) to a count."""

    def counted(*arguments: Any) -> Any:
        result = function(*arguments)
        counts[name] += amount(result)
        return result

    return counted


def stage(rank: int, num_nodes: int, source: Path, target: Path) -> None:
    """Stage on one of the nodes, and print its counts."""
    stage_module.UNIT_BYTES = MIN_UNIT_BYTES
    stage_module.Nodes = CountingNodes
    manifest.read = count(manifest.read, "listings_read", lambda _: 1)
    direct_io.read_range = count(direct_io.read_range, "bytes_read", len)
    direct_io.memory = count(direct_io.memory, "bytes_of_payloads", lambda memory: len(memory))
    store = CountingStore(dist.FileStore(f"{target}_store", num_nodes))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=num_nodes, timeout=timedelta(seconds=300))
    counts["store_requests"] = 0
    world = World(rank=rank, num_ranks=num_nodes, local_rank=0, ranks_per_node=1)
    stage_module.stage(source, target / f"node_{rank}", world=world)
    print(json.dumps(counts) + "\n", end="", flush=True)  # one write, as other nodes print too
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(forked_ranks.run(stage, int(sys.argv[3]), Path(sys.argv[1]), Path(sys.argv[2])))
