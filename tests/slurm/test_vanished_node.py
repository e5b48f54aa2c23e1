# SPDX-License-Identifier: Apache-2.0
"""A node that vanishes under a job ends the run on the others, and the job goes on when there are nodes again."""

from pathlib import Path

import psutil
import pytest

from compliance import mllog
from tests.demos import COSMOFLOW
from tests.slurm.cluster import Slurm, missing, until

SLURMD_TIMEOUT_S = 5
"""After so long without an answer Slurm takes a node for lost; sites have some minutes."""
SECONDS_TO_REQUEUE = 90
"""Slurm looks at its nodes every half a minute."""
SECONDS_TO_END = 20
"""Time for a surviving rank to end, on two loaded cores, because its connection to the other rank is lost."""

pytestmark = pytest.mark.slow


@pytest.fixture
def slurm(tmp_path):
    if missing():
        pytest.skip(missing())
    with Slurm(tmp_path / "slurm", SlurmdTimeout=SLURMD_TIMEOUT_S) as cluster:
        yield cluster


@pytest.mark.parametrize(("node", "last_status"), [("n1", None), ("n2", "aborted")], ids=["writing", "other"])
def test_a_node_that_vanishes_ends_the_run_and_the_job_goes_on_later(slurm, submit, tmp_path, node, last_status):
    job = submit(system={"max_epochs": 9999})
    attempt = tmp_path / "out.runs/result_0.attempt_1.txt"
    until(lambda: attempt.exists() and mllog.read(attempt).first("epoch_start"), "training has begun", 60)
    (survivor,) = (task for task in ranks(slurm) if task.environ()["SLURMD_NODENAME"] != node)
    slurm.vanish(node)
    until(lambda: not survivor.is_running(), "the surviving rank ends", SECONDS_TO_END)
    assert status(attempt) == last_status
    until(lambda: slurm.state(job) == "PENDING", "the job waits in the queue again", SECONDS_TO_REQUEUE)
    until(lambda: not list(slurm.tasks()), "no process is left", SECONDS_TO_END)
    assert not list((tmp_path / "out").rglob("result_*.txt"))

    COSMOFLOW.configure(tmp_path / "config")
    slurm.boot(node)
    slurm.start_again(job)
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    (result,) = (tmp_path / "out").rglob("result_*.txt")
    assert len(mllog.read(result).all("epoch_stop")) == 1


def ranks(slurm: Slurm) -> list[psutil.Process]:
    return [task for task in slurm.tasks() if task.cmdline()[1:3] == ["-m", "cosmoflow.train"]]


def status(log: Path) -> str | None:
    """Last status of a run that closed its log."""
    stop = mllog.read(log).last("run_stop")
    return stop and stop.metadata.status
