# SPDX-License-Identifier: Apache-2.0
"""The place of this process among those that torchrun, srun or mpiexec started, from the environment.

    place = find(os.environ)                      # Place(launcher="srun", rank=5, num_ranks=8, local_rank=1, ...)

With a launcher that is not understood, processes would silently train as independent runs. Every sign of a launcher is
therefore either understood or refused. A Slurm batch script is a single process; only the variables of steps count.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from compliance.files.errors import UserError

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
MPICH = ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
OPEN_MPI = (
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
)
NUM_STARTED = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpiexec", "PMI_SIZE": "mpiexec"}


class LaunchError(UserError):
    """Processes that cannot form one world."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """This process among all that were started together."""

    launcher: str = "none"
    """The launcher: torchrun, srun, mpiexec or none."""
    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0
    """Rank among the processes of this node."""
    ranks_per_node: int = 1
    """Processes of this node."""

    @property
    def num_nodes(self) -> int:
        """Number of nodes, with equally many ranks on each."""
        return self.num_ranks // self.ranks_per_node


def find(environment: Mapping[str, str]) -> Place:
    """The place of this process; LaunchError if variables are missing or contradict each other."""
    if "RANK" in environment or "WORLD_SIZE" in environment:
        return _torchrun(environment)
    for variables in (OPEN_MPI, MPICH):
        if variables[-1] in environment:
            return _mpiexec(environment, variables)
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return _srun(environment)
    _check_started(environment, joined_by="nothing", num_joined=1)
    return Place()


def first_node(node_list: str) -> str:
    """The first name in Slurm's list of nodes: "node[007-010,12],login1" -> "node007"."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", node_list).split(",")[0]


def _torchrun(environment: Mapping[str, str]) -> Place:
    for name in TORCHRUN[4:]:
        _text(environment, name, "torchrun")
    place = _place(environment, "torchrun", TORCHRUN[:4])
    num_agents = int(environment.get("GROUP_WORLD_SIZE", place.num_nodes))
    _check_started(environment, joined_by="torchrun", num_joined=num_agents)
    return place


def _mpiexec(environment: Mapping[str, str], variables: tuple[str, ...]) -> Place:
    return _place(environment, "mpiexec", variables)


def _srun(environment: Mapping[str, str]) -> Place:
    per_node = _text(environment, "SLURM_STEP_TASKS_PER_NODE", "srun")
    if not re.fullmatch(r"\d+(\(x\d+\))?", per_node):
        raise LaunchError(
            f"SLURM_STEP_TASKS_PER_NODE: found {per_node!r}, expected equally many tasks on each node; "
            "give srun --ntasks-per-node"
        )
    counts = {**environment, "SLURM_STEP_TASKS_PER_NODE": per_node.split("(")[0]}
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")
    place = _place(counts, "srun", names)
    _check_started(environment, joined_by="srun", num_joined=place.num_ranks)
    return place


def _place(environment: Mapping[str, str], launcher: str, names: tuple[str, ...]) -> Place:
    rank, num_ranks, local_rank, ranks_per_node = (_count(environment, name, launcher) for name in names)
    if not (rank < num_ranks and local_rank < ranks_per_node and num_ranks % ranks_per_node == 0):
        found = " ".join(f"{name}={environment[name]}" for name in names)
        raise LaunchError(f"{found}: expected ranks below their sizes, and equally many ranks on each node")
    return Place(
        launcher=launcher, rank=rank, num_ranks=num_ranks, local_rank=local_rank, ranks_per_node=ranks_per_node
    )


def _check_started(environment: Mapping[str, str], *, joined_by: str, num_joined: int) -> None:
    """Raise LaunchError if a launcher started more processes than are joined."""
    for name, launcher in NUM_STARTED.items():
        num_started = int(environment.get(name, 1))
        if num_started not in (1, num_joined):
            raise LaunchError(
                f"{name}={num_started}: {launcher} started {num_started} processes, but {joined_by} joins "
                f"{num_joined}; start all ranks with srun or mpiexec, or one torchrun a node for --nnodes nodes"
            )


def _text(environment: Mapping[str, str], name: str, launcher: str) -> str:
    if name not in environment:
        raise LaunchError(
            f"{name}: not set, though others of {launcher}'s variables are; start with {launcher}, or unset them"
        )
    return environment[name]


def _count(environment: Mapping[str, str], name: str, launcher: str) -> int:
    text = _text(environment, name, launcher)
    if not text.isdecimal():
        raise LaunchError(f"{name}: found {text!r}, expected a whole number")
    return int(text)
