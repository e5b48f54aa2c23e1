# SPDX-License-Identifier: Apache-2.0
"""The meeting point of the ranks: an address and port, or an open store, that their process group starts from.

    torch.distributed.init_process_group(backend, rank=..., world_size=..., **meeting(place, os.environ))

torchrun gives it in its variables. Under srun, every rank computes it from the node list and the numbers of its step,
without a file and without asking Slurm's controller. Under mpiexec, rank 0 takes a free port and broadcasts it through
MPI, which is finalized then, so that no rank ever waits in MPI for a failed one.
"""

import socket
from collections.abc import Mapping
from typing import Any

import torch.distributed

from harness.distributed.launchers import LaunchError, Place, first_node

LOWEST_PORT, NUM_PORTS = 15000, 16384
"""Range of ports below those that Linux assigns itself (32768 and up)."""


def meeting(place: Place, environment: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of init_process_group beyond rank and size. MASTER_ADDR and MASTER_PORT take precedence."""
    if place.launcher == "mpiexec":
        return {"store": _store_told_through_mpi(place, environment)}
    if place.launcher == "srun":
        address, port = srun_address(environment)
        return {"init_method": f"tcp://{address}:{port}"}
    return {"init_method": "env://"}


def srun_address(environment: Mapping[str, str]) -> tuple[str, int]:
    """The first node of the step, which runs task 0, and a port that follows from job and step."""
    address = environment.get("MASTER_ADDR") or first_node(environment["SLURM_STEP_NODELIST"])
    number = int(environment["SLURM_JOB_ID"]) * 31 + int(environment["SLURM_STEP_ID"])
    return address, int(environment.get("MASTER_PORT") or LOWEST_PORT + number % NUM_PORTS)


def _store_told_through_mpi(place: Place, environment: Mapping[str, str]) -> torch.distributed.Store:
    try:
        from mpi4py import MPI  # importing it starts MPI, hence only under mpiexec
    except ImportError as error:
        raise LaunchError(f"mpiexec: {error}; install the extra [mpi], or start with torchrun or srun") from None
    world = MPI.COMM_WORLD
    if world.size != place.num_ranks:
        raise LaunchError(
            f"mpiexec started {place.num_ranks} processes, but mpi4py joins {world.size}; "
            "use the mpiexec that belongs to mpi4py's MPI"
        )
    store = None
    if world.rank == 0:
        host = environment.get("MASTER_ADDR") or socket.gethostname()
        port = int(environment.get("MASTER_PORT") or 0)
        store = torch.distributed.TCPStore(host, port, place.num_ranks, is_master=True, wait_for_workers=False)
    host, port = world.bcast((store.host, store.port) if store else None)
    MPI.Finalize()
    return store or torch.distributed.TCPStore(host, port, place.num_ranks, is_master=False)
