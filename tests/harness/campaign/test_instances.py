# SPDX-License-Identifier: Apache-2.0
"""Instances: runs that train at the same time, from distinct seeds, laid out and scored as throughput."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import compliance.__main__
from compliance import mllog

WEAK = "out/Example_Lab/results/one_laptop/weak/cosmoflow"
SLOW_START = ("        run.start()\n", "        run.start()\n        import time; time.sleep(2)\n")


@pytest.fixture
def campaign(toy_folder, toy_environment):
    """Run a campaign of the toy; returns the finished process."""

    def run(*options: str, **variables: str) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "harness.campaign", "cosmoflow/configs/demo", "--output", "out", *options]
        environment = {**toy_environment, **variables}
        return subprocess.run(line, cwd=toy_folder, env=environment, capture_output=True, text=True, timeout=120)

    return run


def logs(folder: Path) -> list[mllog.RunLog]:
    return [mllog.read(path) for path in sorted(folder.glob("result_*.txt"))]


def test_instances_train_at_the_same_time_from_distinct_seeds(campaign, toy_folder, capsys):
    train_py = toy_folder / "cosmoflow/train.py"
    train_py.write_text(train_py.read_text().replace(*SLOW_START))
    done = campaign("--instances", "3")
    assert done.returncode == 0, done.stderr
    trained = logs(toy_folder / WEAK)
    assert len({log.value("seed") for log in trained}) == 3
    assert max(log.first("run_start").time_ms for log in trained) < min(log.last("run_stop").time_ms for log in trained)
    compliance.__main__.main(["score", str(toy_folder / "out"), "--format", "json"])
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert (entry["metric"], entry["runs"], entry["throughput"]["num_kept"]) == ("throughput", 3, 3)
    again = campaign("--instances", "3")
    assert again.returncode == 2
    assert "holds instances of an earlier campaign" in again.stderr


def test_an_instance_without_the_target_is_pruned(campaign, toy_folder):
    train_py = toy_folder / "cosmoflow/train.py"
    by_seed = "2.0 if run.seed == 8 else world.mean(1.0, epoch)"
    train_py.write_text(train_py.read_text().replace("world.mean(1.0, epoch)", by_seed))
    done = campaign("--instances", "3", "--seed-base", "7")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 runs complete, 2 reached the target" in done.stdout
    assert [log.value("seed") for log in logs(toy_folder / WEAK)] == [7, 9]
    assert [log.value("seed") for log in logs(toy_folder / WEAK / "pruned_results")] == [8]


def test_an_instance_that_fails_is_no_result_of_either_kind(campaign, toy_folder):
    train_py = toy_folder / "cosmoflow/train.py"
    train_py.write_text(train_py.read_text().replace("world.mean(1.0, epoch)", "1 / (run.seed - 8)"))
    done = campaign("--instances", "2", "--seed-base", "8")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    entered = logs(toy_folder / WEAK) + logs(toy_folder / WEAK / "pruned_results")
    assert [log.value("seed") for log in entered] == [9]


def test_a_launcher_starts_each_run(campaign, toy_folder):
    done = campaign("--runs", "1", "--launcher", "env STARTED=1 timeout 60")
    assert done.returncode == 0, done.stderr
    readme = next((toy_folder / "out").glob("*/benchmarks/cosmoflow/*/README.md")).read_text()
    assert "`env STARTED=1 timeout 60 python -m cosmoflow.train " in readme
