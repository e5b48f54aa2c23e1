# SPDX-License-Identifier: Apache-2.0
"""A single process, and two real ones that torchrun joins."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.distributed.launchers import LaunchError
from harness.distributed.world import World, launch


def test_nodes_are_even_blocks_unless_they_were_compared():
    world = World(rank=5, num_ranks=8, local_rank=1, ranks_per_node=4)
    assert (world.num_nodes, world.node_index, world.is_even) == (2, 1, True)
    uneven = World(rank=2, num_ranks=4, ranks_per_node=1, ranks_by_node=((0, 1), (2,), (3,)))
    assert (uneven.num_nodes, uneven.node_index, uneven.is_even) == (3, 1, False)


def test_world_of_another_size_than_asked_for(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(LaunchError, match="found 1, expected 4"), launch(num_ranks=4):
        pass


def test_one_process_needs_no_process_group():
    with launch() as world:
        assert not torch.distributed.is_initialized()
        assert world.broadcast("as it is") == "as it is"
        world.barrier()


def test_sums_are_exact_where_the_addends_are_not():
    world = World()
    assert world.all_reduce_sum(torch.tensor([0.1], dtype=torch.bfloat16)).dtype == torch.float64
    assert world.all_reduce_sum(2**40 + 1).item() == 2**40 + 1
    assert world.mean(torch.tensor(3.0), 4) == 0.75


def test_sum_leaves_its_argument_alone():
    partial = torch.tensor([1.0, 2.0], dtype=torch.float64)
    World().all_reduce_sum(partial).zero_()
    assert partial.tolist() == [1.0, 2.0]


TWO_RANKS = """
import torch
from harness.distributed.world import launch
with launch(num_ranks=2) as world:
    assert torch.distributed.get_backend() == "gloo"
    large_and_small = world.all_reduce_sum(torch.tensor([2.0**24, 1.0][world.rank], dtype=torch.float32))
    count = world.all_reduce_sum([2**60, 1][world.rank])
    mean = world.mean([6.0, 1.0][world.rank], [3, 1][world.rank])
    word = world.broadcast(["first", "second"][world.rank])
    world.barrier()
    if world.rank == 1:
        print(int(large_and_small), int(count), mean, word, world.num_nodes, world.accelerators_per_node)
assert not torch.distributed.is_initialized()
"""


def torchrun(*arguments: str, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=cwd, timeout=120, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="two ranks on CPU")
def test_two_ranks_sum_in_full_precision_and_part_cleanly(tmp_path, toy_environment):
    (tmp_path / "two_ranks.py").write_text(TWO_RANKS)
    done = torchrun("two_ranks.py", environment=toy_environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # 2**24 + 1 has no float32, 7 / 4 is not the mean of the ranks' means
    assert done.stdout.split() == [str(2**24 + 1), str(2**60 + 1), "1.75", "first", "1", "0"]


DATA_PARALLEL = """
import pathlib
import torch
from torch.nn.parallel import DistributedDataParallel
from harness.distributed.world import launch
from harness.distributed.gradient_compression import compress_gradients
def train():
    model = DistributedDataParallel(torch.nn.Linear(2, 2))
    compress_gradients(model, "bf16")
    for _ in range(3):
        model(torch.ones(1, 2)).sum().backward()
def threads():
    return sorted(path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm"))
with launch(num_ranks=2) as world:
    train()
    assert any("gloo" in name for name in threads()), threads()
assert not any("gloo" in name for name in threads()), threads()
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="two ranks on CPU")
def test_no_thread_of_the_process_group_outlives_it(tmp_path, toy_environment):
    """One that does may abort a rank whose work is done, when the interpreter ends before it."""
    (tmp_path / "data_parallel.py").write_text(DATA_PARALLEL)
    done = torchrun("data_parallel.py", environment=toy_environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="two ranks on CPU")
def test_two_ranks_train_as_one_and_only_the_first_writes(toy_folder, toy_train, toy_environment):
    train_py = toy_folder / "cosmoflow/train.py"
    # Were each rank to judge by its own value, rank 1 would stop at once and rank 0 wait for it.
    train_py.write_text(train_py.read_text().replace("world.mean(1.0, epoch)", "1 / epoch if world.rank == 0 else 0.1"))
    output = toy_folder / "result_0.txt"
    done = torchrun("-m", *toy_train[2:], "--output", str(output), environment=toy_environment, cwd=toy_folder)
    assert done.returncode == 0, done.stderr
    text = output.read_text()
    assert (text.count('"epoch_start"'), text.count('"run_stop"'), text.count('"status": "success"')) == (3, 1, 1)
    assert '"key": "number_of_ranks", "value": 2' in text
    assert "MLLOG" not in done.stdout + done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="two ranks on CPU")
def test_rank_that_fails_leaves_a_closed_log(toy_folder, toy_train, toy_environment):
    train_py = toy_folder / "cosmoflow/train.py"
    train_py.write_text(train_py.read_text().replace("world.mean(1.0, epoch)", "0.9 if world.rank == 0 else 1 / 0"))
    output = toy_folder / "result_0.txt"
    done = torchrun("-m", *toy_train[2:], "--output", str(output), environment=toy_environment, cwd=toy_folder)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    (last,) = (line for line in output.read_text().splitlines() if '"run_stop"' in line)
    assert '"key": "run_stop"' in last
    assert '"status": "aborted"' in last


@pytest.mark.skipif(torch.cuda.is_available(), reason="two ranks on CPU")
def test_log_that_exists_stops_both_ranks(toy_folder, toy_train, toy_environment):
    output = toy_folder / "result_0.txt"
    output.write_text("precious")
    done = torchrun("-m", *toy_train[2:], "--output", str(output), environment=toy_environment, cwd=toy_folder)
    assert done.returncode != 0
    assert "exists and is not empty" in done.stderr  # torchrun may end the other rank before it says so too
    assert output.read_text() == "precious"
