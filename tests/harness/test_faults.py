# SPDX-License-Identifier: Apache-2.0
"""Faults of a running job: every rank ends within seconds, the log says aborted, and no partial file looks whole."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch

from compliance import mllog
from harness.campaign.training_process import is_complete
from harness.data.manifest import Manifest, Split, describe
from harness.staging.stage import stage
from harness.staging.units import StagingError

SECONDS_TO_END = 20
"""Time to end after a fault, on two busy cores; interpreters need a part of it to unwind and exit."""

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="two ranks on CPU")

ENDLESS = (
    "result.value = world.mean(1.0, epoch)",
    "import time; time.sleep(0.05); result.value = world.mean(0.9, 1.0)",
)


@pytest.fixture
def ranks(toy_folder, toy_train, toy_environment):
    """Start two ranks that train without end, without a launcher that would end one when the other fails."""
    train_py = toy_folder / "cosmoflow/train.py"
    train_py.write_text(train_py.read_text().replace(*ENDLESS))
    system = toy_folder / "cosmoflow/configs/demo/system.toml"
    system.write_text(system.read_text() + "epoch_limit = 100000\n")
    started = []

    def start(log: Path) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        for rank in ("0", "1"):
            environment = {**toy_environment, **world, "RANK": rank, "LOCAL_RANK": rank}
            line = [*toy_train, "--output", str(log)]
            options = {"env": environment, "cwd": toy_folder, "stderr": subprocess.PIPE, "text": True}
            started.append(subprocess.Popen(line, **options))
        wait_until(lambda: log.exists() and "epoch_start" in log.read_text(), "training begins", 60)
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until(condition, what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s until {what}"
        time.sleep(0.05)


def last_status(log: Path) -> str:
    return mllog.read(log).last("run_stop").metadata.status


def test_a_rank_that_dies_ends_the_others_and_the_log_says_aborted(ranks, tmp_path):
    log = tmp_path / "result_0.txt"
    first, second = ranks(log)
    second.kill()
    _, printed = first.communicate(timeout=SECONDS_TO_END)
    assert first.returncode not in (0, None), printed
    assert last_status(log) == "aborted"


def test_a_writing_rank_that_dies_leaves_a_log_that_nobody_takes_for_whole(ranks, tmp_path):
    log = tmp_path / "result_0.txt"
    first, second = ranks(log)
    first.kill()
    second.communicate(timeout=SECONDS_TO_END)
    assert second.returncode not in (0, None)
    assert not is_complete(log)


def test_sigterm_to_all_ranks_closes_the_log(ranks, tmp_path):
    log = tmp_path / "result_0.txt"
    processes = ranks(log)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.communicate(timeout=SECONDS_TO_END)
        assert process.returncode not in (0, None)
    assert last_status(log) == "aborted"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_log_on_a_full_disk_ends_all_ranks_and_is_not_whole(ranks, small_disk):
    log = small_disk / "result_0.txt"
    first, second = ranks(log)
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(1000)):
                pass
        except OSError:
            pass
    _, printed = first.communicate(timeout=SECONDS_TO_END)
    assert first.returncode not in (0, None)
    assert "No space left on device" in printed
    second.communicate(timeout=SECONDS_TO_END)
    assert second.returncode not in (0, None)
    assert not is_complete(log)


@pytest.fixture
def source(tmp_path) -> Path:
    """A data set of 2 MB."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("train", "validation"):
        (folder / name).write_bytes(os.urandom(1_000_000))
    files = {name: Split(num_samples=1, files=(describe(folder, folder / name),)) for name in ("train", "validation")}
    description = {"format": "numpy", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
    Manifest(benchmark="toy", synthetic=True, splits=files, **description).save(folder)
    return folder


def test_a_disk_that_fills_while_staging_ends_it_and_the_target_has_no_name(source, small_disk, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, 10**9))  # others fill it
    with pytest.raises(StagingError, match="No space left on device"):
        stage(source, small_disk / "data")
    assert not (small_disk / "data").exists()


STAGE_IN_RUN = """
    with launch() as world, Run(settings, arguments.output, world=world, seed=arguments.seed) as run:
        run.log("train_samples", 1024)
        run.log("eval_samples", 256)
        run.start()
        with run.staging():
            from harness.staging.stage import stage
            stage(arguments.data, arguments.output.with_name("staged"), world=world)
"""


def test_an_unreadable_source_aborts_the_run_in_one_line(source, toy_folder, toy_train, toy_environment, tmp_path):
    train_py = toy_folder / "cosmoflow/train.py"
    head, rest = train_py.read_text().split("    with launch()")
    train_py.write_text(head + STAGE_IN_RUN.lstrip("\n") + "\n" + rest[rest.index('if __name__ == "__main__"') :])
    (source / "validation").unlink()
    log = tmp_path / "result_0.txt"
    line = [*toy_train, "--data", str(source), "--output", str(log)]
    done = subprocess.run(line, env=toy_environment, cwd=toy_folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {source / 'validation'}: cannot be read: No such file")
    assert last_status(log) == "aborted"
    assert mllog.read(log).first("staging_stop") is not None
    assert not (tmp_path / "staged").exists()
