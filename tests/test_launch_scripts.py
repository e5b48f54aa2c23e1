# SPDX-License-Identifier: Apache-2.0
"""The launch scripts of every benchmark, with commands in their path that note how they were called."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ("cosmoflow", "deepcam", "imagenet_resnet", "ewa_fasterrcnn")
PREPARED_AS = {"cosmoflow": " --format numpy", "deepcam": " --format numpy"}
TRAINS_INSTANCES = ("cosmoflow", "deepcam")  # throughput is a metric of MLPerf HPC

NOTE = '#!/bin/bash\necho "$(basename "$0") $*" >> "$CALLS"\n'
COMMANDS = {
    "python3": NOTE,
    "make": NOTE,
    "srun": NOTE,
}


@pytest.fixture(params=BENCHMARKS)
def benchmark(request) -> str:
    return request.param


class Scripts:
    """The launch scripts of a benchmark, run in a folder with commands of their own."""

    def __init__(self, benchmark: str, folder: Path) -> None:
        self._folder, self._bin, self._calls = folder, folder / "bin", folder / "calls"
        self._launch = ROOT / benchmark / "launch"
        self._bin.mkdir()
        self.commands(**COMMANDS)

    def commands(self, **texts: str) -> None:
        """Put commands into the path."""
        for name, text in texts.items():
            (self._bin / name).write_text(text)
            (self._bin / name).chmod(0o755)

    def __call__(self, script: str, *arguments: str, **variables: str) -> tuple[int, list[str], str]:
        """Run a script; its exit code, the commands that it called, and what it printed as an error."""
        with self.started(script, *arguments, **variables) as (job, calls):
            printed = job.stderr.read()
            return job.wait(), calls.read_text().splitlines(), printed

    @contextmanager
    def started(self, script: str, *arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen, Path]]:
        """A running script, and the file of the commands that it calls."""
        self._calls.write_text("")
        environment = {"PATH": f"{self._bin}:{os.environ['PATH']}", "CALLS": str(self._calls), **variables}
        command = ["bash", str(self._launch / script), *arguments]
        job = subprocess.Popen(
            command, cwd=self._folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            yield job, self._calls
        finally:
            with suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
            job.communicate()


@pytest.fixture
def call(tmp_path, benchmark) -> Scripts:
    return Scripts(benchmark, tmp_path)


def test_one_process_needs_no_launcher(benchmark, call):
    code, calls, _ = call("run_local.sh", "my/config", "my/data")
    assert code == 0
    assert calls == [f"python3 -m {benchmark}.train --config my/config --data my/data --output result_0.txt"]


def test_several_ranks_are_started_by_torchrun(benchmark, call):
    _, (started,), _ = call("run_local.sh", "my/config", "my/data", "my/log.txt", RANKS="2")
    assert started.startswith(f"python3 -m torch.distributed.run --standalone --nproc-per-node 2 -m {benchmark}.train ")
    assert started.endswith("--output my/log.txt")


@pytest.mark.parametrize("arguments", [(), ("only/config",), ("a", "b", "c", "d")])
def test_run_local_explains_itself(benchmark, call, arguments):
    code, calls, printed = call("run_local.sh", *arguments)
    assert (code, calls) == (2, [])
    assert "run_local.sh CONFIG DATA" in printed


def test_run_and_time_takes_the_configuration_beside_it(benchmark, call, tmp_path):
    submitted = tmp_path / "entry" / "run_and_time.sh"
    submitted.parent.mkdir()
    submitted.write_text((ROOT / benchmark / "launch" / "run_and_time.sh").read_text())
    (submitted.parent / "hyperparameters.toml").touch()
    _, (started,), _ = call(str(submitted), DATA="my/data")
    assert f"--config {submitted.parent} " in started
    _, (started,), _ = call("run_and_time.sh", DATA="my/data")
    assert "configs/closed " in started


@pytest.mark.parametrize("script", ["run_and_time.sh", "init_datasets.sh", "run.slurm"])
def test_a_script_without_its_data_folder_says_so(benchmark, call, script):
    code, calls, printed = call(script)
    assert code != 0
    assert calls == []
    assert "Set DATA to the" in printed


def test_data_are_prepared_from_the_original_or_simulated(benchmark, call):
    _, calls, _ = call("init_datasets.sh", "--workers", "4", RAW="raw", DATA="out")
    assert calls == [f"python3 -m {benchmark}.prepare raw out{PREPARED_AS.get(benchmark, '')} --workers 4"]
    _, calls, _ = call("init_datasets.sh", DATA="out")
    assert calls == [f"python3 -m {benchmark}.synthesize out"]


SLURM = {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "4", "SLURM_NTASKS": "32"}
SLURM |= {"CONFIG": "my/config", "DATA": "data", "OUTPUT": "acme"}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(benchmark):
    scripts = [str(path) for path in sorted((ROOT / benchmark / "launch").iterdir())]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_job_is_a_campaign_whose_runs_srun_starts(benchmark, call):
    code, calls, printed = call("run.slurm", **SLURM, NUM_RUNS="3")
    assert code == 0, printed
    (campaign,) = calls
    assert campaign.startswith(f"python3 -m harness.campaign my/config --benchmark {benchmark} ")
    assert "--launcher srun --kill-on-bad-exit=1 --mpi=none --cpu-bind=cores --gpu-bind=none " in campaign
    assert campaign.endswith("--data data --output acme --runs 3")


@pytest.mark.parametrize("benchmark", TRAINS_INSTANCES, indirect=True)
def test_instances_share_the_nodes_of_a_job(benchmark, call):
    _, (campaign,), _ = call("run.slurm", **SLURM, INSTANCES="2")
    assert "--exact --nodes 2 --ntasks 16 " in campaign
    assert campaign.endswith("--instances 2")


@pytest.mark.parametrize("benchmark", TRAINS_INSTANCES, indirect=True)
@pytest.mark.parametrize("num_instances", ["3", "8"])
def test_instances_that_cannot_share_the_nodes_equally_are_refused(benchmark, call, num_instances):
    code, calls, printed = call("run.slurm", **SLURM, INSTANCES=num_instances)
    assert (code, calls) == (2, [])
    assert printed == f"INSTANCES={num_instances}: expected a divisor of the job's 4 nodes\n"


def test_data_are_staged_once_for_all_runs(benchmark, call):
    _, (staging, campaign), _ = call("run.slurm", **SLURM, LOCAL="/nvme/data")
    assert staging.endswith("--nodes 4 --ntasks 4 --ntasks-per-node 1 python3 -m harness.staging data /nvme/data")
    assert "--data /nvme/data " in campaign


def test_devices_are_checked_first_if_the_job_asks_for_it(benchmark, call):
    code, (check, staging, campaign), _ = call("run.slurm", **SLURM, LOCAL="/nvme/data", VERIFY="1")
    assert code == 0
    assert check.startswith("srun ")
    assert check.endswith("python3 -m harness.verify")
    assert "harness.staging" in staging
    assert "harness.campaign" in campaign


@pytest.mark.parametrize(("found", "goes_on"), [(1, False), (3, True)])
def test_a_wrong_device_ends_the_job_and_a_slow_one_does_not(benchmark, call, found, goes_on):
    call.commands(srun=NOTE + f"exit {found}\n")
    code, calls, _ = call("run.slurm", **SLURM, VERIFY="1")
    assert len(calls) == 1 + goes_on
    assert (code == 0) == goes_on


def test_the_configuration_has_to_be_named(benchmark, call):
    code, calls, printed = call("run.slurm", **{**SLURM, "CONFIG": ""})
    assert (code, calls) == (1, [])
    assert "Set CONFIG to the folder of hyperparameters.toml and system.toml, for example CONFIG=" in printed


@pytest.mark.parametrize("benchmark", ["cosmoflow", "deepcam", "imagenet_resnet"], indirect=True)
def test_nodes_that_cannot_hold_the_data_get_a_part(benchmark, call):
    _, (staging, _), _ = call("run.slurm", **SLURM, LOCAL="/nvme/data", NODE_PART="1")
    assert staging.endswith("-m harness.staging --node-part data /nvme/data")


@pytest.mark.parametrize("benchmark", TRAINS_INSTANCES, indirect=True)
def test_instances_do_not_train_from_parts_of_all_nodes(benchmark, call):
    code, calls, printed = call("run.slurm", **SLURM, LOCAL="/nvme/data", NODE_PART="1", INSTANCES="2")
    assert (code, calls) == (2, [])
    assert printed.startswith("NODE_PART=1: found INSTANCES=2 too")


WAITING = NOTE + "trap '' TERM\nwhile true; do sleep 0.1; done\n"
"""A command that hangs before it can handle a signal."""


@pytest.mark.parametrize("benchmark", ["cosmoflow"], indirect=True)
@pytest.mark.parametrize(("hanging", "local"), [("srun", "/nvme/data"), ("python3", "")])
def test_a_job_near_its_time_limit_is_queued_again_even_if_staging_or_training_hangs(benchmark, call, hanging, local):
    """The staging step or the campaign of this job ignores SIGTERM, and must not keep the job until it is killed."""
    call.commands(**{hanging: WAITING, "scancel": NOTE, "scontrol": NOTE})
    call.commands(timeout='#!/bin/bash\nexec /usr/bin/timeout 0.3 "${@:2}"\n')  # in place of a minute
    with call.started("run.slurm", **SLURM, LOCAL=local) as (job, calls):
        while not calls.read_text():
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=20) == 143
    assert calls.read_text().splitlines()[1:] == ["scancel --signal=TERM 41", "scontrol requeue 41"]
