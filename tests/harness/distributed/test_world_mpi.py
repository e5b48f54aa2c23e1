# SPDX-License-Identifier: Apache-2.0
"""Ranks that srun and mpiexec start: who they are by their variables, where they meet, and two real ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.distributed import affinity, launchers
from harness.distributed.launchers import LaunchError, Place
from harness.distributed.rendezvous import srun_address

ROOT = Path(__file__).parents[3]
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

pytest.importorskip("mpi4py", reason="needs the extra [mpi]")
needs_mpiexec = pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec in the environment or the path")
on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="two ranks on CPU")

SRUN = {
    "SLURM_JOB_ID": "41",
    "SLURM_STEP_ID": "3",
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "node[007-008]",
}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}
OPEN_MPI = dict(zip(launchers.OPEN_MPI, MPICH.values(), strict=True))


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        (SRUN, "srun"),
        ({**SRUN, "PMI_RANK": "5", "PMI_SIZE": "8"}, "srun"),  # --mpi=pmi2
        (MPICH, "mpiexec"),
        (OPEN_MPI, "mpiexec"),
        ({**MPICH, "SLURM_STEP_NUM_TASKS": "2"}, "mpiexec"),  # which starts its proxies with srun, one a node
    ],
)
def test_a_rank_knows_its_place(environment, launcher):
    place = launchers.find(environment)
    assert place == Place(launcher=launcher, rank=5, num_ranks=8, local_rank=1, ranks_per_node=4)
    assert place.num_nodes == 2


def test_a_batch_script_is_one_process_whatever_the_size_of_its_job():
    assert launchers.find({"SLURM_JOB_ID": "41", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}).num_ranks == 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "4,3"}, "give srun --ntasks-per-node"),
        ({"SLURM_PROCID": "8"}, "SLURM_PROCID=8"),
        ({"PMI_SIZE": "4"}, "PMI_SIZE=4: mpiexec started 4 processes, but srun joins 8"),
    ],
)
def test_contradictions_are_named(changed, named):
    with pytest.raises(LaunchError, match=named):
        launchers.find({**SRUN, **changed})


@pytest.mark.parametrize("name", ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"])
def test_a_missing_variable_is_named(name):
    with pytest.raises(LaunchError, match=f"{name}: not set, though others of srun's"):
        launchers.find({key: value for key, value in SRUN.items() if key != name})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("node[007-010,12],login1", "node007"), ("a1,b2", "a1"), ("alone", "alone"), ("r[2-3]n[5,7]", "r2n5")],
)
def test_the_first_of_slurms_nodes(nodes, first):
    assert launchers.first_node(nodes) == first


def test_steps_meet_at_ports_of_their_own_unless_told_otherwise():
    address, port = srun_address(SRUN)
    assert address == "node007"
    assert port != srun_address({**SRUN, "SLURM_STEP_ID": "4"})[1]
    assert port != srun_address({**SRUN, "SLURM_JOB_ID": "42"})[1]
    assert srun_address({**SRUN, "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "4321"}) == ("10.0.0.7", 4321)


def test_the_ranks_of_a_node_share_its_cores_out():
    places = [Place(num_ranks=3, local_rank=rank, ranks_per_node=3) for rank in range(3)]
    shares = [affinity.own_share(list(range(8)), place) for place in places]
    assert [core for share in shares for core in share] == list(range(8))
    assert {len(share) for share in shares} == {2, 3}


TWO_RANKS = """
import os
from harness.distributed.world import launch
with launch(num_ranks=2) as world:
    total = world.all_reduce_sum(world.rank + 1).item()
    cores = sorted(os.sched_getaffinity(0))
print(f"{world.launcher} rank {world.rank} sum {total} nodes {world.num_nodes} cores {cores}\\n", end="")
"""


def mpiexec(*arguments: str, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess:
    line = [MPIEXEC, "-n", "2", sys.executable, *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=cwd, timeout=120, check=False)


@needs_mpiexec
@on_cpu
def test_two_ranks_of_mpiexec_are_one_world_on_cores_of_their_own(tmp_path, toy_environment):
    (tmp_path / "two_ranks.py").write_text(TWO_RANKS)
    done = mpiexec("two_ranks.py", environment=toy_environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines())
    assert [line.split(" cores")[0] for line in lines] == [f"mpiexec rank {n} sum 3 nodes 1" for n in (0, 1)]
    if os.cpu_count() == len(os.sched_getaffinity(0)) > 1:
        first, second = (set(json.loads(line.split("cores ")[1])) for line in lines)
        assert not first & second


@needs_mpiexec
@on_cpu
def test_a_rank_that_fails_ends_the_other_and_leaves_a_closed_log(toy_folder, toy_train, toy_environment):
    train_py = toy_folder / "cosmoflow/train.py"
    train_py.write_text(train_py.read_text().replace("world.mean(1.0, epoch)", "0.9 if world.rank == 0 else 1 / 0"))
    done = mpiexec(*toy_train[1:], "--output", "result_0.txt", environment=toy_environment, cwd=toy_folder)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    assert '"status": "aborted"' in (toy_folder / "result_0.txt").read_text().splitlines()[-1]


@on_cpu
def test_an_mpiexec_of_another_mpi_is_refused(tmp_path, toy_environment):
    (tmp_path / "two_ranks.py").write_text(TWO_RANKS)
    other = dict(zip(launchers.OPEN_MPI, ("0", "2", "0", "2"), strict=True))
    line = [sys.executable, "two_ranks.py"]
    done = subprocess.run(line, capture_output=True, text=True, env={**toy_environment, **other}, cwd=tmp_path)
    assert done.returncode != 0
    assert "mpiexec started 2 processes, but mpi4py joins 1" in done.stderr


@pytest.mark.slow
@needs_mpiexec
@on_cpu
def test_training_gives_what_it_gives_under_torchrun(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    simulate = [sys.executable, "-m", "cosmoflow.synthesize", "data", "--train", "8", "--validation", "4"]
    subprocess.run(simulate, cwd=tmp_path, env=environment, check=True)
    demo = ROOT / "cosmoflow/configs/demo"
    short = (demo / "system.toml").read_text().replace("max_epochs = 12", "max_epochs = 1")
    (tmp_path / "system.toml").write_text(short)
    train = ["-m", "cosmoflow.train", "--config", str(demo), "--system", "system.toml", "--data", "data", "--seed", "7"]
    done = mpiexec(*train, "--output", "mpiexec.txt", environment=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, *train, "--output", "torchrun.txt"], cwd=tmp_path, env=environment, check=True)
    assert errors(tmp_path / "mpiexec.txt") == errors(tmp_path / "torchrun.txt") != []


def errors(log: Path) -> list[float]:
    events = (json.loads(line.split(":::MLLOG ")[1]) for line in log.read_text().splitlines())
    return [event["value"] for event in events if event["key"] == "eval_error"]
