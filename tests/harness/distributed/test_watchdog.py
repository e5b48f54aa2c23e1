# SPDX-License-Identifier: Apache-2.0
"""A rank that stops or hangs is named by the others, which close the log and end within seconds."""

import os
import re
import signal
import socket
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist

from compliance import mllog
from harness.distributed.watchdog import Watchdog

LIMIT_S = 3
SECONDS_TO_END = 30
"""Limit, time to find the stopped ranks and to leave, on a loaded machine; far below the 30 minutes of a collective."""

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="ranks on CPU")

TRAINING = ("result.value = world.mean(1.0, epoch)", "result.value = world.mean(0.9, 1.0)")
HANGING = (
    "            with run.evaluation(epoch)",
    "            with run.progress(epoch):\n                pass\n"
    "            if world.rank == 1 and epoch == 3:\n                hang()\n"
    "            with run.evaluation(epoch)",
)
HANG = "\ndef hang():\n    import time\n    time.sleep(1000)\n\n\ndef main"


@pytest.fixture
def start(toy_folder, toy_train, toy_environment):
    """Start ranks that train for ever, without a launcher that would end one for the other; (processes, log)."""
    train_py = toy_folder / "cosmoflow/train.py"
    train_py.write_text(train_py.read_text().replace("launch()", f"launch(watchdog_minutes={LIMIT_S / 60})"))
    system = toy_folder / "cosmoflow/configs/demo/system.toml"
    system.write_text(system.read_text() + "epoch_limit = 100000000\n")
    log, processes = toy_folder / "result_0.txt", []

    def start(num_ranks: int, change: tuple[str, str]) -> tuple[list[subprocess.Popen], Path]:
        train_py.write_text(train_py.read_text().replace(*change).replace("\ndef main", HANG, 1))
        world = {"WORLD_SIZE": num_ranks, "LOCAL_WORLD_SIZE": num_ranks, "MASTER_ADDR": "127.0.0.1"}
        world |= {"MASTER_PORT": free_port()}
        for rank in range(num_ranks):
            variables = {**world, "RANK": rank, "LOCAL_RANK": rank}
            environment = {**toy_environment, **{name: str(value) for name, value in variables.items()}}
            line = [*toy_train, "--output", str(log)]
            processes.append(subprocess.Popen(line, env=environment, cwd=toy_folder, stderr=subprocess.PIPE, text=True))
        return processes, log

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for_epoch(log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not (log.exists() and "epoch_start" in log.read_text()):
        assert time.monotonic() < end, "training has not begun"
        time.sleep(0.05)


def test_ranks_that_stop_are_named_and_the_log_says_aborted(start):
    ranks, log = start(3, TRAINING)
    wait_for_epoch(log)
    for process in ranks[1:]:  # the second is not watched by a running rank
        os.kill(process.pid, signal.SIGSTOP)
    _, printed = ranks[0].communicate(timeout=SECONDS_TO_END)
    assert ranks[0].returncode not in (0, None)
    for rank, process in enumerate(ranks[1:], start=1):
        assert f"rank {rank} on node {socket.gethostname()}, process {process.pid}" in printed
    (stop,) = (line for line in log.read_text().splitlines() if '"run_stop"' in line)
    assert all(part in stop for part in ('"status": "aborted"', '"reason": "LostRankError"'))


def test_a_stopped_rank_that_keeps_the_meeting_point_is_noticed(start):
    ranks, log = start(2, TRAINING)
    wait_for_epoch(log)
    os.kill(ranks[0].pid, signal.SIGSTOP)
    _, printed = ranks[1].communicate(timeout=SECONDS_TO_END)
    assert ranks[1].returncode not in (0, None)
    assert f"no answer from the store of rank 0 on node {socket.gethostname()}" in printed


def test_a_rank_whose_main_thread_hangs_is_shown_with_its_place(start):
    ranks, log = start(2, HANGING)
    _, printed = ranks[0].communicate(timeout=2 * SECONDS_TO_END)
    assert ranks[0].returncode not in (0, None)
    assert re.search(r"rank 1: last seen at \S*train\.py:\d+ hang", printed), printed
    assert mllog.read(log).last("run_stop").metadata.status == "aborted"


def test_ranks_that_only_compute_are_left_alone():
    """Several times the limit passes without a step, a collective or a request to the store by the main thread."""
    store = dist.HashStore()
    watchdogs = [Watchdog(store, rank=rank, names=["a", "b"], limit_s=0.5) for rank in range(2)]
    with watchdogs[0], watchdogs[1]:
        time.sleep(2)
        assert not store.check(["watchdog/missing"])
        assert store.get("watchdog/0") != b"1"


def test_without_a_limit_nothing_is_watched():
    threads = psutil.Process().num_threads()
    with Watchdog.none() as watchdog:
        assert psutil.Process().num_threads() == threads
        watchdog.limit_collectives()
        watchdog.tell("no store is asked")
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=1))
    with Watchdog(store, rank=0, names=["a", "b"], limit_s=0):
        assert not store.check(["watchdog/0"])
