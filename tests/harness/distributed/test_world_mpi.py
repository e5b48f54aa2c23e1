# SPDX-License-Identifier: Apache-2.0
"""Ranks that srun and mpiexec start: their meeting point, and two real ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.distributed.rendezvous import srun_address

ROOT = Path(__file__).parents[3]
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

pytest.importorskip("mpi4py", reason="needs the extra [mpi]")
needs_mpiexec = pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec in the environment or the path")
on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="two ranks on CPU")

SRUN = {"SLURM_JOB_ID": "41", "SLURM_STEP_ID": "3", "SLURM_STEP_NODELIST": "node[007-008]"}
OPEN_MPI = dict.fromkeys(("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"), "0")
OPEN_MPI |= dict.fromkeys(("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"), "2")


def test_steps_meet_at_ports_of_their_own_unless_told_otherwise():
    address, port = srun_address(SRUN)
    assert address == "node007"
    assert port != srun_address({**SRUN, "SLURM_STEP_ID": "4"})[1]
    assert port != srun_address({**SRUN, "SLURM_JOB_ID": "42"})[1]
    assert srun_address({**SRUN, "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "4321"}) == ("10.0.0.7", 4321)


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
    (stop,) = (line for line in (toy_folder / "result_0.txt").read_text().splitlines() if '"run_stop"' in line)
    assert '"status": "aborted"' in stop


@on_cpu
def test_an_mpiexec_of_another_mpi_is_refused(tmp_path, toy_environment):
    (tmp_path / "two_ranks.py").write_text(TWO_RANKS)
    line = [sys.executable, "two_ranks.py"]
    done = subprocess.run(line, capture_output=True, text=True, env={**toy_environment, **OPEN_MPI}, cwd=tmp_path)
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
