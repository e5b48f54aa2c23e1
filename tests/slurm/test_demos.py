# SPDX-License-Identifier: Apache-2.0
"""Every benchmark's batch script under a real Slurm of two nodes: its demo ends in a log that the checker accepts."""

import json
from pathlib import Path

import pytest

from compliance import mllog
from tests.demos import COSMOFLOW, DEMOS, IMAGENET

SMALL = {"H101", "Q113", "Q503"}
"""Rules that so few samples break: the rules say how many there are, and a fixed number of epochs teaches little."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("demo", DEMOS.values(), ids=list(DEMOS))
def test_a_demo_on_two_nodes_ends_in_a_log_that_the_checker_accepts(slurm, submit, demo, tmp_path):
    job = submit(demo=demo)
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    (log,) = map(mllog.read, (tmp_path / "out").rglob(f"strong/{demo.package}/result_*.txt"))
    assert (log.value("number_of_ranks"), log.value("number_of_nodes")) == (2, 2)
    assert log.value("cache_clear") is True
    assert log.value("data_is_synthetic") is True
    assert {"H101"} <= demo.faults(log.path) <= SMALL


def test_runs_go_straight_into_a_submission(slurm, submit, data_of, tmp_path):
    staged = f"{tmp_path}/$SLURMD_NODENAME/data"  # the nodes share this machine's disk
    job = submit(system={"staging_folder": staged}, NUM_RUNS="2")
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    logs = [mllog.read(log) for log in sorted((tmp_path / "out").rglob("strong/cosmoflow/result_*.txt"))]
    assert [log.path.name for log in logs] == ["result_0.txt", "result_1.txt"]
    assert len({log.value("seed") for log in logs}) == 2
    assert all(log.first("staging_stop") for log in logs)
    for node in ("n1", "n2"):
        assert contents(tmp_path / node / "data") == contents(data_of(COSMOFLOW))
    description = json.loads(next((tmp_path / "out").glob("Demo/systems/*.json")).read_text())
    assert description["number_of_nodes"] == "2"


def test_the_job_stages_the_data_to_storage_that_each_node_names_itself(slurm, submit, data_of, tmp_path):
    job = submit(demo=IMAGENET, LOCAL=f"{tmp_path}/$SLURMD_NODENAME/data")
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    (log,) = map(mllog.read, (tmp_path / "out").rglob("result_*.txt"))
    assert log.value("train_samples") == 64
    for node in ("n1", "n2"):
        assert contents(tmp_path / node / "data") == contents(data_of(IMAGENET))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
