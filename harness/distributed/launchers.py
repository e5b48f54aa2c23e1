# SPDX-License-Identifier: Apache-2.0
"""The place of this process among those that a launcher started, from the environment.

    place = find(os.environ)                      # Place(launcher="srun", rank=5, num_ranks=8, local_rank=1, ...)

Understood are torchrun, srun, and the launchers of MPI libraries and resource managers in LAUNCHERS. With a launcher
that is not understood, processes would silently train as independent runs. Every sign of a launcher is therefore either
understood or refused. A Slurm batch script is a single process; only the variables of steps count.

Sources of the names: the environment that Open MPI, MPICH, MVAPICH2, HPE PALS, flux-core and IBM JSM document.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from compliance.files.errors import UserError


class LaunchError(UserError):
    """Processes that cannot form one world."""


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """A launcher that starts processes of one MPI world, and its variables."""

    name: str
    """Command that starts the processes."""
    sign: str
    """Variable that only this launcher sets."""
    rank: str
    num_ranks: str
    local_rank: str
    ranks_per_node: str = ""
    """Empty, or not in the environment: the ranks then count each other when they meet."""


OPEN_MPI = Launcher(
    name="mpiexec",
    sign="OMPI_COMM_WORLD_LOCAL_SIZE",
    rank="OMPI_COMM_WORLD_RANK",
    num_ranks="OMPI_COMM_WORLD_SIZE",
    local_rank="OMPI_COMM_WORLD_LOCAL_RANK",
    ranks_per_node="OMPI_COMM_WORLD_LOCAL_SIZE",
)
MPICH = Launcher(
    name="mpiexec",
    sign="MPI_LOCALNRANKS",
    rank="PMI_RANK",
    num_ranks="PMI_SIZE",
    local_rank="MPI_LOCALRANKID",
    ranks_per_node="MPI_LOCALNRANKS",
)
MVAPICH2 = Launcher(
    name="mpiexec",
    sign="MV2_COMM_WORLD_SIZE",
    rank="MV2_COMM_WORLD_RANK",
    num_ranks="MV2_COMM_WORLD_SIZE",
    local_rank="MV2_COMM_WORLD_LOCAL_RANK",
    ranks_per_node="MV2_COMM_WORLD_LOCAL_SIZE",
)
PALS = Launcher(
    name="mpiexec",
    sign="PALS_RANKID",
    rank="PMI_RANK",
    num_ranks="PMI_SIZE",
    local_rank="PALS_LOCAL_RANKID",
    ranks_per_node="PALS_LOCAL_SIZE",
)
FLUX = Launcher(
    name="flux run",
    sign="FLUX_TASK_RANK",
    rank="FLUX_TASK_RANK",
    num_ranks="FLUX_JOB_SIZE",
    local_rank="FLUX_TASK_LOCAL_ID",
)
JSRUN = Launcher(
    name="jsrun",
    sign="JSM_NAMESPACE_RANK",
    rank="JSM_NAMESPACE_RANK",
    num_ranks="JSM_NAMESPACE_SIZE",
    local_rank="JSM_NAMESPACE_LOCAL_RANK",
    ranks_per_node="JSM_NAMESPACE_LOCAL_SIZE",
)
LAUNCHERS = (OPEN_MPI, MPICH, MVAPICH2, PALS, FLUX, JSRUN)
"""MPI's own launchers first: they also run inside a job of one task of the others."""
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
NUM_STARTED = {
    "SLURM_STEP_NUM_TASKS": "srun",
    **{launcher.num_ranks: launcher.name for launcher in LAUNCHERS},
    "HOROVOD_SIZE": "horovodrun",
}
"""Variables that hold the number of started processes, and the launchers that set them."""
ADVICE = "start all ranks with torchrun, srun or mpiexec"


@dataclass(frozen=True, kw_only=True)
class Place:
    """This process among all that were started together."""

    launcher: str = "none"
    """Command that started it: torchrun, srun, mpiexec, flux run, jsrun or none."""
    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0
    """Rank among the processes of this node."""
    ranks_per_node: int = 1
    """Processes of this node; 0 if the launcher does not say."""
    node: str = ""
    """The launcher's name or number of this node, where it gives one."""
    in_mpi: bool = False
    """True if the processes are in one MPI world: of an MPI launcher, or of srun with a PMI plugin."""


def find(environment: Mapping[str, str]) -> Place:
    """The place of this process; LaunchError if variables are missing or contradict each other."""
    if "RANK" in environment or "WORLD_SIZE" in environment:
        return _torchrun(environment)
    for launcher in LAUNCHERS:
        if launcher.sign in environment:
            names = (launcher.rank, launcher.num_ranks, launcher.local_rank)
            place = _place(environment, launcher.name, names, _ranks_per_node(environment, launcher))
            return replace(place, in_mpi=True)
    if _num_started(environment, "SLURM_STEP_NUM_TASKS") > 1:
        return _srun(environment)
    _check_started(environment, joined_by="nothing", joined={1})
    if "PMIX_RANK" in environment and not any(name in environment for name in NUM_STARTED):
        raise LaunchError(f"PMIX_RANK={environment['PMIX_RANK']}: its launcher is not known; {ADVICE}")
    return Place()


def first_node(node_list: str) -> str:
    """The first name in Slurm's list of nodes: "node[007-010,12],login1" -> "node007"."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", node_list).split(",")[0]


def tasks_on_node(tasks_per_node: str, node: int) -> int:
    """Tasks on the node with this number in Slurm's list: tasks_on_node("2(x3),1", 3) is 1. LaunchError if unknown."""
    if not re.fullmatch(r"\d+(\(x\d+\))?(,\d+(\(x\d+\))?)*", tasks_per_node):
        raise LaunchError(f"SLURM_STEP_TASKS_PER_NODE: found {tasks_per_node!r}, expected the form 2(x3),1")
    for tasks, _, repeats in re.findall(r"(\d+)(\(x(\d+)\))?", tasks_per_node):
        node -= int(repeats or 1)
        if node < 0:
            return int(tasks)
    raise LaunchError(f"SLURM_NODEID: found a number beyond SLURM_STEP_TASKS_PER_NODE={tasks_per_node}")


def _torchrun(environment: Mapping[str, str]) -> Place:
    """Variables in the form of torchrun's. A wrapper around another launcher may have set them: without agents."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        _text(environment, name, "torchrun")
    ranks_per_node = _count(environment, "LOCAL_WORLD_SIZE", "torchrun")
    place = _place(environment, "torchrun", TORCHRUN[:3], ranks_per_node, node=environment.get("GROUP_RANK", ""))
    agents = _count(environment, "GROUP_WORLD_SIZE", "torchrun") if "GROUP_WORLD_SIZE" in environment else None
    joined = {agents} if agents else {place.num_ranks, place.num_ranks // max(1, ranks_per_node)}
    _check_started(environment, joined_by="torchrun", joined=joined)
    return place


def _srun(environment: Mapping[str, str]) -> Place:
    per_node = _text(environment, "SLURM_STEP_TASKS_PER_NODE", "srun")
    number = _count(environment, "SLURM_NODEID", "srun") if "," in per_node else 0
    node = environment.get("SLURMD_NODENAME") or environment.get("SLURM_NODEID", "")
    place = _place(environment, "srun", SRUN, tasks_on_node(per_node, number), node=node)
    _check_started(environment, joined_by="srun", joined={place.num_ranks})
    return replace(place, in_mpi="PMI_RANK" in environment or "PMIX_RANK" in environment)


def _place(
    environment: Mapping[str, str], launcher: str, names: tuple[str, ...], ranks_per_node: int, node: str = ""
) -> Place:
    """The place that the variables `names` give: rank, number of ranks, and local rank."""
    rank, num_ranks, local_rank = (_count(environment, name, launcher) for name in names)
    if not (rank < num_ranks and local_rank < (ranks_per_node or num_ranks) and ranks_per_node <= num_ranks):
        found = " ".join(f"{name}={environment[name]}" for name in names)
        raise LaunchError(f"{found}, {ranks_per_node} ranks on this node: expected ranks below their sizes")
    return Place(
        launcher=launcher,
        rank=rank,
        num_ranks=num_ranks,
        local_rank=local_rank,
        ranks_per_node=ranks_per_node,
        node=node,
    )


def _check_started(environment: Mapping[str, str], *, joined_by: str, joined: set[int]) -> None:
    """Raise LaunchError if a launcher started another number of processes than are joined."""
    for name, launcher in NUM_STARTED.items():
        num_started = _num_started(environment, name)
        if num_started not in {1, *joined}:
            raise LaunchError(
                f"{name}={num_started}: {launcher} started {num_started} processes, but {joined_by} joins "
                f"{max(joined)}; {ADVICE}, or one torchrun per node for --nnodes nodes"
            )


def _ranks_per_node(environment: Mapping[str, str], launcher: Launcher) -> int:
    name = launcher.ranks_per_node
    return _count(environment, name, launcher.name) if name in environment else 0


def _num_started(environment: Mapping[str, str], name: str) -> int:
    return _count(environment, name, NUM_STARTED[name]) if name in environment else 1


def _text(environment: Mapping[str, str], name: str, launcher: str) -> str:
    if name not in environment:
        raise LaunchError(
            f"{name}: not set, though other variables of {launcher} are; start with {launcher}, or unset them"
        )
    return environment[name]


def _count(environment: Mapping[str, str], name: str, launcher: str) -> int:
    text = _text(environment, name, launcher)
    if not text.isdecimal():
        raise LaunchError(f"{name}: found {text!r}, expected a whole number; start with {launcher}, or unset it")
    return int(text)
