# SPDX-License-Identifier: Apache-2.0
"""The same faults for all four benchmarks: every log is closed, nothing is lost, and no message is a traceback.

docs/reliability.md lists what is promised. Kills in a step with a bit-equal resume are in test_resume.py.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compliance import mllog
from compliance.log_digest import broken_links
from harness import checkpoint
from tests import commands
from tests.demos import COSMOFLOW, DEEPCAM, DEMOS, EWA, IMAGENET, Demo

TWO_EPOCHS = {
    "cosmoflow": replace(COSMOFLOW, system={"max_epochs": 2, "cache": False}),
    "deepcam": replace(DEEPCAM, system={"max_epochs": 2, "cache": False}),
    "imagenet_resnet": IMAGENET,
    "ewa_fasterrcnn": replace(EWA, system={"trained_weights": None, "epochs_between_evaluations": 1}),
}
STEPS_PER_EPOCH = {"cosmoflow": 4, "deepcam": 2, "imagenet_resnet": 2, "ewa_fasterrcnn": 2}

pytestmark = pytest.mark.slow


@pytest.fixture(params=DEMOS)
def demo(request) -> Demo:
    return TWO_EPOCHS[request.param]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> dict[str, Path]:
    """The data sets that tests have asked for, which leave them as they are."""
    return {}


@pytest.fixture
def data(demo, prepared, tmp_path_factory) -> Path:
    if demo.package not in prepared:
        prepared[demo.package] = demo.synthesize(tmp_path_factory.mktemp("data") / demo.package)
    return prepared[demo.package]


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "result_0.txt"


@pytest.fixture
def start(demo, data, log, tmp_path) -> Iterator:
    """Start the train command with a fault after a step; other processes end with the test."""
    started: list[subprocess.Popen] = []

    def start(fault: str, step: int, *options: str, data_set: Path = data, environment=None, **system):
        config = demo.configure(tmp_path / "config", precision="fp32", **system)
        place = tmp_path if fault == "wait" else data_set
        command = [sys.executable, "tests/fault_at_step.py", demo.package, step, fault, place]
        command += ["--config", config, "--data", data_set, "--output", log, *options]
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=commands.ROOT,
            env=commands.environment() | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def assert_aborted(log: Path) -> None:
    """Check that the log ends with run_stop and its digest, and that the chain of digests is whole."""
    events = mllog.read(log).events
    assert [event.key for event in events[-2:]] == ["run_stop", "log_digest"]
    assert events[-2].metadata.status == "aborted"
    assert list(broken_links(log)) == []


def assert_one_line(printed: str) -> None:
    assert printed.startswith("error: "), printed
    assert printed.count("\n") == 1, printed


def test_two_signals_in_a_row_close_the_log(start, log):
    process = start("two signals", 2)
    _, printed = process.communicate(timeout=200)
    assert (process.returncode, printed) == (143, "")
    assert_aborted(log)


def test_a_loss_that_is_not_finite_ends_the_run(start, log):
    process = start("weights overflow", 1)
    _, printed = process.communicate(timeout=200)
    assert process.returncode == 2, printed
    assert_one_line(printed)
    assert "error: epoch 1, step 2: the loss is NaN or infinite; try a lower learning rate" in printed
    assert_aborted(log)


@pytest.mark.parametrize("fault", ["data vanish", "data are cut"])
def test_data_that_are_lost_while_training_end_the_run_in_one_line(demo, start, log, tmp_path, fault):
    own = demo.synthesize(tmp_path / "data")
    process = start(fault, 1, data_set=own)
    _, printed = process.communicate(timeout=200)
    assert process.returncode == 2, printed
    assert_one_line(printed)
    assert str(own) in printed
    assert_aborted(log)


def test_data_that_are_cut_before_training_are_one_line_and_no_log(demo, start, log, tmp_path):
    own = demo.synthesize(tmp_path / "data")
    victim = max((path for path in (own / "train").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    os.truncate(victim, victim.stat().st_size // 2)
    process = start("wait", 1000, data_set=own)
    _, printed = process.communicate(timeout=200)
    assert process.returncode == 2, printed
    assert_one_line(printed)
    assert victim.name in printed
    assert not log.exists()


def test_a_damaged_checkpoint_gives_way_to_the_one_before(demo, start, log):
    process = start("kill", STEPS_PER_EPOCH[demo.package] + 1, "--seed", "3", checkpoint_every_epochs=1)
    process.communicate(timeout=200)
    newest = max(checkpoint.folder_of(log).glob("epoch_*.pt"))
    assert newest.name.startswith("epoch_000001_")
    newest.write_bytes(newest.read_bytes()[:-100])
    process = start("kill", 1000, "--resume", checkpoint_every_epochs=1)
    _, printed = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    assert f"{newest}: damaged; trying the checkpoint before it" in printed
    assert mllog.read(log).first("restart").metadata.epoch_num == 0
    assert list(broken_links(log)) == []


def test_a_second_start_with_the_same_log_ends_in_one_line(start, log, tmp_path):
    first = start("wait", 1)
    until((tmp_path / "waiting").exists)
    before = log.read_text()
    second = start("wait", 1000, "--resume")
    _, printed = second.communicate(timeout=200)
    assert second.returncode == 2
    assert_one_line(printed)
    assert f"{log}: in use by process {first.pid} on" in printed
    assert log.read_text() == before


def test_a_rank_that_dies_ends_the_other_and_the_log_is_closed(start, log, unused_port):
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(unused_port)}
    ranks = [start("second rank dies", 2, environment={**world, "RANK": r, "LOCAL_RANK": r}) for r in ("0", "1")]
    _, printed = ranks[0].communicate(timeout=200)
    assert ranks[0].returncode not in (0, None), printed
    assert_aborted(log)


def test_a_log_on_a_full_disk_ends_the_run_in_one_line(start, log):
    if os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root only")
    log.parent.joinpath("disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", log.parent / "disk"]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        process = start("kill", 1000, "--output", str(log.parent / "disk" / "result_0.txt"))
        _, printed = process.communicate(timeout=200)
    finally:
        subprocess.run(["umount", log.parent / "disk"], check=True)
    assert process.returncode == 2, printed
    assert_one_line(printed)
    assert "No space left on device" in printed


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(condition, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
