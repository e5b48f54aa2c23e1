# SPDX-License-Identifier: Apache-2.0
"""CosmoFlow's batch script under a real Slurm of two nodes: results, layout, time limit, instances."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compliance import mllog
from compliance.__main__ import main as compliance
from tests.harness.slurm import Slurm, missing, until

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cosmoflow/launch/run.slurm"
OPTIONS = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--gpus-per-node=0", "--chdir", str(ROOT))
SMALL = {"H101"}
"""What the checker finds wrong: the data set has too few samples."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with Slurm(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "data"
    simulate = [sys.executable, "-m", "cosmoflow.synthesize", str(folder), "--train", "8", "--validation", "4"]
    subprocess.run(simulate, cwd=ROOT, check=True)
    return folder


@pytest.fixture
def submit(slurm, data, tmp_path):
    """Submit the script with a demo of so many epochs; (job, folder of the submission)."""

    def submit(*options: str, max_epochs: int = 1, **variables: str) -> tuple[str, Path]:
        config = tmp_path / "config"
        config.mkdir()
        for name in ("hyperparameters.toml", "system.toml"):
            text = (ROOT / "cosmoflow/configs/demo" / name).read_text()
            staged = f'staging_folder = "{tmp_path}/$SLURMD_NODENAME/data"'  # the nodes share this machine's disk
            text = text.replace("max_epochs = 12", f"max_epochs = {max_epochs}").replace("cache = true", staged)
            (config / name).write_text(text)
        variables = {"DATA": str(data), "CONFIG": str(config), "OUTPUT": str(tmp_path / "out"), **variables}
        variables |= {"PYTHON": sys.executable, "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        printed = ("--output", str(tmp_path / "printed"))
        return slurm.sbatch(*OPTIONS, *printed, *options, str(SCRIPT), **variables), tmp_path / "out"

    return submit


def findings(path: Path, capsys) -> list[dict]:
    capsys.readouterr()
    compliance(["check", str(path), "--format", "json"])
    return json.loads(capsys.readouterr().out)["findings"]


def test_runs_on_two_nodes_go_straight_into_a_submission(slurm, submit, data, tmp_path, capsys):
    job, output = submit(NUM_RUNS="2")
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    logs = sorted(output.rglob("strong/cosmoflow/result_*.txt"))
    assert [log.name for log in logs] == ["result_0.txt", "result_1.txt"]
    assert len({mllog.read(log).value("seed") for log in logs}) == 2
    for log in map(mllog.read, logs):
        assert (log.value("number_of_ranks"), log.value("number_of_nodes")) == (2, 2)
        assert log.value("cache_clear") is True
        errors = [found for found in findings(log.path, capsys) if found["severity"] == "error"]
        assert {found["rule"] for found in errors} == SMALL
    whole = {path.relative_to(data): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    for node in ("n1", "n2"):
        staged = tmp_path / node / "data"
        assert {path.relative_to(staged): path.read_bytes() for path in staged.rglob("*") if path.is_file()} == whole
    description = json.loads(next(output.glob("Demo/systems/*.json")).read_text())
    assert description["number_of_nodes"] == "2"


def test_a_job_near_its_time_limit_closes_the_log_and_goes_on_when_it_is_queued_again(slurm, submit, tmp_path):
    job, output = submit(max_epochs=99, NUM_RUNS="1")
    attempt = tmp_path / "out.runs/result_0.attempt_1.txt"
    until(lambda: attempt.exists() and mllog.read(attempt).first("epoch_start"), "training has begun", 60)
    slurm.call("scancel", "--batch", "--signal=TERM", job)  # what --signal=B:TERM@120 does
    until(lambda: slurm.state(job) == "PENDING", "the job waits in the queue again", 60)
    assert mllog.read(attempt).last("run_stop").metadata.status == "aborted"
    assert not list(output.rglob("result_*.txt"))

    system = tmp_path / "config/system.toml"
    system.write_text(system.read_text().replace("max_epochs = 99", "max_epochs = 1"))
    slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm makes such a job wait for two minutes
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    assert [log.name for log in output.rglob("result_*.txt")] == ["result_0.txt"]


def test_two_instances_on_a_node_each_are_scored_as_throughput(slurm, submit, tmp_path, capsys):
    job, output = submit(INSTANCES="2")
    assert slurm.wait(job) == "COMPLETED", (tmp_path / "printed").read_text()
    logs = [mllog.read(log) for log in sorted(output.rglob("weak/cosmoflow/**/result_*.txt"))]
    assert len({log.value("seed") for log in logs}) == 2
    begins, ends = ([log.first(key).time_ms for log in logs] for key in ("init_start", "run_stop"))
    assert max(begins) < min(ends)
    capsys.readouterr()
    compliance(["score", str(output), "--format", "json"])
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["metric"] == "throughput"
    throughput = entry["throughput"]
    assert (throughput["total_scale"], throughput["instance_scale"]) == (2, 1)
    assert throughput["num_kept"] + throughput["num_pruned"] == 2
