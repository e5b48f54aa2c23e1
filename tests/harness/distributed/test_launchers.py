# SPDX-License-Identifier: Apache-2.0
"""The place of a process, by the variables of its launcher."""

import pytest

from harness.distributed import launchers
from harness.distributed.launchers import LaunchError, Place, find

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_JOB_ID": "41",
    "SLURM_STEP_ID": "3",
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "node[007-008]",
    "SLURM_NODEID": "1",
}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}
PALS = {"PALS_RANKID": "5", "PALS_LOCAL_RANKID": "1", "PALS_LOCAL_SIZE": "4", "PMI_RANK": "5", "PMI_SIZE": "8"}
FLUX = {"FLUX_TASK_RANK": "5", "FLUX_JOB_SIZE": "8", "FLUX_TASK_LOCAL_ID": "1"}
JSRUN = {"JSM_NAMESPACE_RANK": "5", "JSM_NAMESPACE_SIZE": "8", "JSM_NAMESPACE_LOCAL_RANK": "1", "PMIX_RANK": "5"}


def mpi_variables(prefix: str) -> dict[str, str]:
    """Variables of Open MPI and of MVAPICH2, whose names differ in their first part."""
    values = {"RANK": "5", "SIZE": "8", "LOCAL_RANK": "1", "LOCAL_SIZE": "4"}
    return {f"{prefix}_COMM_WORLD_{name}": value for name, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "launcher", "ranks_per_node"),
    [
        (TORCHRUN, "torchrun", 4),
        (SRUN, "srun", 4),
        ({**SRUN, "PMI_RANK": "5", "PMI_SIZE": "8"}, "srun", 4),  # --mpi=pmi2
        ({**SRUN, "PMIX_RANK": "5"}, "srun", 4),  # --mpi=pmix
        (MPICH, "mpiexec", 4),
        ({**MPICH, "SLURM_STEP_NUM_TASKS": "2"}, "mpiexec", 4),  # it starts its proxies with srun, one per node
        (mpi_variables("OMPI"), "mpiexec", 4),
        (mpi_variables("MV2"), "mpiexec", 4),
        (PALS, "mpiexec", 4),
        ({**PALS, **MPICH}, "mpiexec", 4),
        (FLUX, "flux run", 0),
        (JSRUN, "jsrun", 0),
        ({**JSRUN, "JSM_NAMESPACE_LOCAL_SIZE": "4"}, "jsrun", 4),
        ({**MPICH, **FLUX, "FLUX_JOB_SIZE": "1", "FLUX_TASK_RANK": "0"}, "mpiexec", 4),  # in a job of one task
    ],
)
def test_a_rank_knows_its_place(environment, launcher, ranks_per_node):
    place = find(environment)
    assert (place.launcher, place.rank, place.num_ranks, place.local_rank) == (launcher, 5, 8, 1)
    assert place.ranks_per_node == ranks_per_node


def test_ranks_are_in_an_mpi_world_if_their_launcher_makes_one():
    assert find(MPICH).in_mpi
    assert find({**SRUN, "PMI_RANK": "5", "PMI_SIZE": "8"}).in_mpi
    assert find({**SRUN, "PMIX_RANK": "5"}).in_mpi
    assert not find(SRUN).in_mpi
    assert not find(TORCHRUN).in_mpi


def test_no_launcher_is_one_process():
    assert find({}) == Place()


def test_a_batch_script_is_one_process_for_any_size_of_its_job():
    assert find({"SLURM_JOB_ID": "41", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}).num_ranks == 1


@pytest.mark.parametrize(
    ("name", "launcher"),
    [
        ("SLURM_STEP_NUM_TASKS", "srun"),
        ("OMPI_COMM_WORLD_SIZE", "mpiexec"),
        ("PMI_SIZE", "mpiexec"),
        ("FLUX_JOB_SIZE", "flux run"),
        ("JSM_NAMESPACE_SIZE", "jsrun"),
        ("HOROVOD_SIZE", "horovodrun"),
    ],
)
def test_several_processes_never_train_as_independent_runs(name, launcher):
    with pytest.raises(LaunchError, match=rf"SLURM_STEP_TASKS|{name}=4: {launcher} started 4 processes.*joins 1"):
        find({name: "4"})
    assert find({name: "1"}).num_ranks == 1


def test_horovodrun_is_refused_with_advice():
    ranks = {"HOROVOD_RANK": "3", "HOROVOD_SIZE": "8", "HOROVOD_LOCAL_RANK": "3", "HOROVOD_LOCAL_SIZE": "4"}
    with pytest.raises(LaunchError, match=r"horovodrun started 8 processes.*start all ranks with torchrun, srun or"):
        find(ranks)


def test_a_pmix_launcher_that_gives_no_number_of_processes_is_refused():
    with pytest.raises(LaunchError, match="PMIX_RANK=3: its launcher is not known; start all ranks with"):
        find({"PMIX_RANK": "3"})
    assert find({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "1"}) == Place()


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_a_missing_variable_of_torchrun_is_named(name):
    with pytest.raises(LaunchError, match=f"{name}: not set"):
        find({key: value for key, value in TORCHRUN.items() if key != name})


@pytest.mark.parametrize("name", ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"])
def test_a_missing_variable_of_srun_is_named(name):
    with pytest.raises(LaunchError, match=f"{name}: not set, though other variables of srun are"):
        find({key: value for key, value in SRUN.items() if key != name})


@pytest.mark.parametrize("changed", [{"RANK": "8"}, {"LOCAL_RANK": "4"}, {"RANK": "five"}, {"WORLD_SIZE": ""}])
def test_contradicting_variables_of_torchrun(changed):
    with pytest.raises(LaunchError, match="expected"):
        find({**TORCHRUN, **changed})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"SLURM_PROCID": "8"}, "SLURM_PROCID=8"),
        ({"SLURM_STEP_TASKS_PER_NODE": "many"}, r"found 'many', expected the form 2\(x3\),1"),
        ({"SLURM_STEP_TASKS_PER_NODE": "4,4", "SLURM_NODEID": "2"}, "SLURM_NODEID: found a number beyond"),
        ({"PMI_SIZE": "4"}, "PMI_SIZE=4: mpiexec started 4 processes, but srun joins 8"),
    ],
)
def test_contradicting_variables_of_srun(changed, named):
    with pytest.raises(LaunchError, match=named):
        find({**SRUN, **changed})


def test_an_empty_variable_of_slurm_is_named():
    with pytest.raises(LaunchError, match="SLURM_STEP_NUM_TASKS: found '', expected a whole number"):
        find({"SLURM_STEP_NUM_TASKS": ""})


def test_one_torchrun_per_node_under_srun():
    assert find({**TORCHRUN, "SLURM_STEP_NUM_TASKS": "2"}).launcher == "torchrun"
    with pytest.raises(LaunchError, match="srun started 3 processes, but torchrun joins 2"):
        find({**TORCHRUN, "SLURM_STEP_NUM_TASKS": "3"})


def test_a_wrapper_may_set_torchruns_variables_for_each_process_of_mpiexec():
    wrapper = {name: value for name, value in TORCHRUN.items() if name != "GROUP_WORLD_SIZE"}
    assert find({**wrapper, **PALS}).launcher == "torchrun"
    with pytest.raises(LaunchError, match="PMI_SIZE=8: mpiexec started 8 processes, but torchrun joins 2"):
        find({**TORCHRUN, **PALS})  # every process of mpiexec has started ranks


@pytest.mark.parametrize(
    ("tasks_per_node", "node", "tasks"), [("4(x2)", 1, 4), ("2(x3),1", 2, 2), ("2(x3),1", 3, 1), ("2,1(x2)", 2, 1)]
)
def test_slurms_tasks_per_node_may_differ(tasks_per_node, node, tasks):
    assert launchers.tasks_on_node(tasks_per_node, node) == tasks


def test_a_rank_on_an_uneven_node_knows_the_ranks_beside_it():
    uneven = {"SLURM_STEP_TASKS_PER_NODE": "5,3", "SLURM_LOCALID": "0"}
    assert find({**SRUN, **uneven}).ranks_per_node == 3
    assert find({**SRUN, **uneven, "SLURM_NODEID": "0", "SLURM_PROCID": "0"}).ranks_per_node == 5


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("node[007-010,12],login1", "node007"), ("a1,b2", "a1"), ("alone", "alone"), ("r[2-3]n[5,7]", "r2n5")],
)
def test_the_first_of_slurms_nodes(nodes, first):
    assert launchers.first_node(nodes) == first
