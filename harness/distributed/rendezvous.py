# SPDX-License-Identifier: Apache-2.0
"""The meeting point of the ranks: a store on one of them, which their process group starts from.

    store = meet(place, os.environ, timeout)
    torch.distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.num_ranks)

torchrun gives the address in its variables. Under srun, every rank computes it from the node list and the numbers of
its step, without a file and without asking Slurm's controller. In an MPI world, rank 0 takes a free port and broadcasts
it. Unless training uses MPI, MPI is finalized then, so that no rank ever waits in MPI for a failed one.
"""

import resource
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from torch.distributed import Store, TCPStore
from torch.distributed.rendezvous import rendezvous

from harness.distributed.launchers import LaunchError, Place, first_node

LOWEST_PORT, NUM_PORTS = 15000, 16384
"""Range of ports below those that Linux assigns itself (32768 and up)."""
SOCKETS_PER_RANK = 2
"""Connections of a rank to the store: its own, and the watchdog's."""


def meet(place: Place, environment: Mapping[str, str], timeout: timedelta, *, keep_mpi: bool = False) -> Store:
    """The open store of all ranks. MASTER_ADDR and MASTER_PORT take precedence. LaunchError if ranks cannot meet."""
    _allow_sockets(place)
    if place.launcher == "srun" and not keep_mpi:
        host, port = srun_address(environment)
        return _store(place, host, port, timeout)
    if place.in_mpi or keep_mpi:
        return _through_mpi(place, environment, timeout, keep_mpi=keep_mpi)
    store, _, _ = next(rendezvous("env://", place.rank, place.num_ranks, timeout=timeout))
    return store


def srun_address(environment: Mapping[str, str]) -> tuple[str, int]:
    """The first node of the step, which runs task 0, and a port that follows from job and step."""
    address = environment.get("MASTER_ADDR") or first_node(environment["SLURM_STEP_NODELIST"])
    number = int(environment["SLURM_JOB_ID"]) * 31 + int(environment["SLURM_STEP_ID"])
    return address, int(environment.get("MASTER_PORT") or LOWEST_PORT + number % NUM_PORTS)


def mpi_world(place: Place) -> Any:
    """MPI's communicator of all ranks. LaunchError if mpi4py is missing, or joins other processes."""
    try:
        import mpi4py

        mpi4py.rc.finalize = False  # a rank that fails must not wait for the others at its end
        from mpi4py import MPI  # importing it starts MPI
    except ImportError as error:
        raise LaunchError(
            f"{place.launcher}: {error}; install the extra [mpi], or start with torchrun or srun"
        ) from None
    world = MPI.COMM_WORLD
    if (world.rank, world.size) != (place.rank, place.num_ranks):
        raise LaunchError(
            f"{place.launcher} started {place.num_ranks} processes, but mpi4py joins {world.size}; "
            "use the launcher that belongs to mpi4py's MPI (srun: its --mpi plugin), or set backend = 'gloo'"
        )
    return world


def _through_mpi(place: Place, environment: Mapping[str, str], timeout: timedelta, *, keep_mpi: bool) -> Store:
    world, store = mpi_world(place), None
    if world.rank == 0:
        host = environment.get("MASTER_ADDR") or socket.gethostname()
        store = _store(place, host, int(environment.get("MASTER_PORT") or 0), timeout)
    host, port = world.bcast((store.host, store.port) if store else None)
    if not keep_mpi:
        finalize_mpi()
    return store or _store(place, host, port, timeout)


def finalize_mpi() -> None:
    """End MPI: a collective call of all ranks."""
    from mpi4py import MPI

    MPI.Finalize()


def _store(place: Place, host: str, port: int, timeout: timedelta) -> TCPStore:
    return TCPStore(host, port, place.num_ranks, place.rank == 0, timeout=timeout, wait_for_workers=False)


def _allow_sockets(place: Place) -> None:
    """Raise this process' limit of open files, as far as it may: rank 0 has connections to all ranks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SOCKETS_PER_RANK * place.num_ranks + 1024
    if soft != resource.RLIM_INFINITY and soft < needed:
        with suppress(ValueError, OSError):
            limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
