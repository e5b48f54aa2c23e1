# SPDX-License-Identifier: Apache-2.0
"""The process group over MPI gives what gloo's gives: collective by collective, and in all four benchmarks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.distributed import world
from harness.distributed.launchers import LaunchError, Place
from harness.distributed.world import MPI_FROM_NUM_RANKS, choose_backend
from tests.demos import DEMOS

ROOT = Path(__file__).parents[3]
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
CPU = torch.device("cpu")

pytest.importorskip("mpi4py", reason="needs the extra [mpi]")
needs_mpiexec = pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec in the environment or the path")
on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="ranks on CPU")

COLLECTIVES = """
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from harness.distributed.gradient_compression import compress_gradients
from harness.distributed.node_group import NodeGroup
from harness.distributed.world import launch

with launch(backend="mpi") as world:
    assert dist.get_backend() == "mpi4py"
    rank, size = world.rank, world.num_ranks
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int32, torch.int64, torch.uint8):
        numbers = torch.full((1000,), rank + 1, dtype=dtype)
        dist.all_reduce(numbers)
        assert numbers.tolist() == [size * (size + 1) / 2] * 1000, dtype
    largest = torch.tensor(rank)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    assert largest.item() == size - 1
    mean = torch.tensor(float(rank))
    dist.all_reduce(mean, op=dist.ReduceOp.AVG)
    assert mean.item() == (size - 1) / 2
    matrix = torch.arange(12.0).view(3, 4).t() if rank == 1 else torch.zeros(3, 4).t()   # not contiguous
    dist.broadcast(matrix, src=1)
    dist.all_reduce(matrix)
    assert torch.equal(matrix, torch.arange(12.0).view(3, 4).t() * size)
    assert world.all_gather({"rank": rank}) == [{"rank": each} for each in range(size)]
    gathered = [None] * size if rank == 0 else None
    dist.gather_object(rank, gathered)
    assert gathered == (list(range(size)) if rank == 0 else None)
    received = torch.zeros(5)
    operations = [dist.P2POp(dist.isend, torch.full((5,), float(rank)), (rank + 1) % size)]
    operations += [dist.P2POp(dist.irecv, received, (rank - 1) % size)]
    for work in dist.batch_isend_irecv(operations):
        work.wait()
    assert received.tolist() == [(rank - 1) % size] * 5
    pair = dist.new_group([0, 1])
    if rank < 2:
        ones = torch.ones(3)
        dist.all_reduce(ones, group=pair)
        assert ones.tolist() == [2] * 3
    for _ in range(2):
        with NodeGroup(world) as node:                  # of gloo, beside a world of MPI
            assert node.broadcast(rank) == 0
    for compression in ("none", "bf16"):
        torch.manual_seed(1)
        model = DistributedDataParallel(torch.nn.Linear(100, 100), bucket_cap_mb=0.01)
        compress_gradients(model, compression)
        model(torch.full((1, 100), float(rank))).sum().backward()
        assert torch.allclose(model.module.weight.grad, torch.full((100, 100), (size - 1) / 2), rtol=1e-2)
print("finished")
"""


def mpiexec(num_ranks: int, *arguments: str, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess:
    line = [MPIEXEC, "-n", str(num_ranks), sys.executable, *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=cwd, timeout=300, check=False)


@needs_mpiexec
@on_cpu
def test_every_collective_gives_what_it_should(tmp_path, toy_environment):
    (tmp_path / "collectives.py").write_text(COLLECTIVES)
    done = mpiexec(3, "collectives.py", environment=toy_environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["finished"] * 3


@needs_mpiexec
@on_cpu
@pytest.mark.parametrize("failing", [0, 1])
def test_a_rank_that_fails_ends_the_others_and_the_log_says_aborted(toy_folder, toy_train, toy_environment, failing):
    train_py = toy_folder / "cosmoflow/train.py"
    text = train_py.read_text().replace("launch()", 'launch(backend="mpi", watchdog_minutes=0.05)')
    text = text.replace("world.mean(1.0, epoch)", f"world.mean(1.0, 1.0) if world.rank != {failing} else 1 / 0")
    train_py.write_text(text)
    done = mpiexec(2, *toy_train[1:], "--output", "result_0.txt", environment=toy_environment, cwd=toy_folder)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    (stop,) = (line for line in (toy_folder / "result_0.txt").read_text().splitlines() if '"run_stop"' in line)
    assert '"status": "aborted"' in stop


def test_mpi_is_chosen_for_many_ranks_of_an_mpi_world():
    many, few = MPI_FROM_NUM_RANKS + 1, MPI_FROM_NUM_RANKS
    assert choose_backend("auto", Place(num_ranks=many, in_mpi=True), CPU) == "mpi"
    assert choose_backend("auto", Place(num_ranks=few, in_mpi=True), CPU) == "gloo"
    assert choose_backend("auto", Place(num_ranks=many), CPU) == "gloo"
    assert choose_backend("gloo", Place(num_ranks=many, in_mpi=True), CPU) == "gloo"
    assert choose_backend("auto", Place(num_ranks=many), torch.device("cuda")) == "nccl"


def test_mpi_is_not_chosen_without_mpi4py(monkeypatch):
    monkeypatch.setattr(world, "find_spec", lambda name: None)
    assert choose_backend("auto", Place(num_ranks=10_000, in_mpi=True), CPU) == "gloo"


@pytest.mark.parametrize(("backend", "device"), [("nccl", CPU), ("mpi", torch.device("cuda"))])
def test_a_backend_that_does_not_serve_the_device_is_refused(backend, device):
    with pytest.raises(LaunchError, match=f"backend: found '{backend}' .* expected"):
        choose_backend(backend, Place(), device)


@pytest.mark.slow
@needs_mpiexec
@on_cpu
@pytest.mark.parametrize("demo", DEMOS.values(), ids=list(DEMOS))
def test_a_benchmark_trains_as_with_gloo(demo, tmp_path):
    data = demo.synthesize(tmp_path / "data")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for backend in ("gloo", "mpi"):
        config = demo.configure(tmp_path / backend, backend=backend, precision="fp32")
        train = ["-m", f"{demo.package}.train", "--config", str(config), "--data", str(data), "--seed", "7"]
        done = mpiexec(2, *train, "--output", f"{backend}.txt", environment=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert curve(tmp_path / "mpi.txt") == pytest.approx(curve(tmp_path / "gloo.txt"), rel=1e-5, abs=1e-7) != []


def curve(log: Path) -> list[float]:
    """Losses and qualities, in the order of the log."""
    events = (json.loads(line.split(":::MLLOG ")[1]) for line in log.read_text().splitlines())
    return [event["value"] for event in events if event["key"] in ("eval_error", "eval_accuracy", "train_loss")]
