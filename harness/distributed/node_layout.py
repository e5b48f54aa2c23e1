# SPDX-License-Identifier: Apache-2.0
"""The ranks of each node, found by comparing what all ranks say of themselves.

    records = all_gather(RankRecord.of(place, device))      # every rank's, in the order of the ranks
    ranks_by_node(records)                                  # ((0, 1), (2,), (3,)); LaunchError on all ranks

A launcher's variables describe one rank. Wrong ones are found here: two ranks of a host with the same local rank, sizes
that differ from the count, an accelerator that two ranks would share. Nodes may have different numbers of ranks.
"""

import os
import socket
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from harness.distributed import affinity
from harness.distributed.launchers import LaunchError, Place


@dataclass(frozen=True, kw_only=True)
class RankRecord:
    """One rank's view of itself."""

    host: str
    node: str
    """The launcher's name of the node: several may be on one host, as in tests."""
    local_rank: int
    ranks_per_node: int
    """Ranks of this node by the launcher; 0 if it does not say."""
    process: int
    """Process identifier."""
    cores: tuple[int, ...]
    """Cores that the process may use."""
    accelerator: str | None
    """PCI address of the accelerator, if there is one and it is known."""

    @classmethod
    def of(cls, place: Place, device: torch.device) -> "RankRecord":
        """This process."""
        return cls(
            host=socket.gethostname(),
            node=place.node,
            local_rank=place.local_rank,
            ranks_per_node=place.ranks_per_node,
            process=os.getpid(),
            cores=affinity.allowed_cores(),
            accelerator=affinity.pci_address(device),
        )

    @property
    def name(self) -> str:
        """The node as a person knows it."""
        return f"{self.host} ({self.node})" if self.node and self.node != self.host else self.host


def ranks_by_node(records: Sequence[RankRecord]) -> tuple[tuple[int, ...], ...]:
    """Ranks of each node, ordered by local rank; the nodes in the order of their first ranks."""
    nodes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for rank, record in enumerate(records):
        nodes[record.host, record.node].append(rank)
    for ranks in nodes.values():
        ranks.sort(key=lambda rank: records[rank].local_rank)
        _check_node(ranks, records)
    return tuple(tuple(ranks) for ranks in sorted(nodes.values(), key=min))


def _check_node(ranks: Sequence[int], records: Sequence[RankRecord]) -> None:
    name = records[ranks[0]].name
    local_ranks = [records[rank].local_rank for rank in ranks]
    if local_ranks != list(range(len(ranks))):
        raise LaunchError(
            f"node {name}: ranks {list(ranks)} have the local ranks {local_ranks}, expected 0 to {len(ranks) - 1}; "
            "start the ranks of a node with one launcher, and give every node a host name of its own"
        )
    for rank in ranks:
        if records[rank].ranks_per_node not in (0, len(ranks)):
            raise LaunchError(
                f"node {name}: rank {rank} expects {records[rank].ranks_per_node} ranks on its node, found {len(ranks)}"
                "; start all ranks with one launcher"
            )
    accelerators = [address for rank in ranks if (address := records[rank].accelerator)]
    if len(set(accelerators)) < len(accelerators):
        raise LaunchError(
            f"node {name}: several of the ranks {list(ranks)} have the same accelerator; start one rank per accelerator"
        )
