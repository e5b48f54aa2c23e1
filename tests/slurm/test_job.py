# SPDX-License-Identifier: Apache-2.0
"""A job of CosmoFlow under a real Slurm of two nodes: its time limit, its instances."""

import json

import pytest

from compliance import mllog
from compliance.__main__ import main as compliance
from tests.demos import COSMOFLOW
from tests.slurm.cluster import until

pytestmark = pytest.mark.slow


def test_a_job_near_its_time_limit_closes_the_log_and_goes_on_when_it_is_queued_again(slurm, submit, tmp_path):
    job = submit(system={"max_epochs": 99})
    attempt = tmp_path / "out.runs/result_0.attempt_1.txt"
    until(lambda: attempt.exists() and mllog.read(attempt).first("epoch_start"), "training has begun", 60)
    slurm.call("scancel", "--batch", "--signal=TERM", job)  # what --signal=B:TERM@120 does
    until(lambda: slurm.state(job) == "PENDING", "the job waits in the queue again", 60)
    assert mllog.read(attempt).last("run_stop").metadata.status == "aborted"
    assert not list((tmp_path / "out").rglob("result_*.txt"))

    COSMOFLOW.configure(tmp_path / "config")
    slurm.start_again(job)
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    assert [log.name for log in (tmp_path / "out").rglob("result_*.txt")] == ["result_0.txt"]


def test_two_instances_on_a_node_each_are_scored_as_throughput(slurm, submit, tmp_path, capsys):
    job = submit(INSTANCES="2")
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    logs = [mllog.read(log) for log in sorted((tmp_path / "out").rglob("weak/cosmoflow/**/result_*.txt"))]
    assert len({log.value("seed") for log in logs}) == 2
    begins, ends = ([log.first(key).time_ms for log in logs] for key in ("init_start", "run_stop"))
    assert max(begins) < min(ends)
    capsys.readouterr()
    compliance(["score", str(tmp_path / "out"), "--format", "json"])
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["metric"] == "throughput"
    throughput = entry["throughput"]
    assert (throughput["total_scale"], throughput["instance_scale"]) == (2, 1)
    assert throughput["num_kept"] + throughput["num_pruned"] == 2
