# SPDX-License-Identifier: Apache-2.0
"""A campaign makes a submission of complete runs, however often it is interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import compliance.__main__
from compliance import mllog
from compliance.files.errors import UserError
from compliance.files.lock import LockError
from compliance.rulesets import ruleset
from harness.campaign import campaign, plan
from harness.campaign.plan import CampaignError
from harness.config import ConfigError

DEMO = "cosmoflow/configs/demo"
WAITING_LOG = "out.runs/result_1.attempt_1.txt"
RESULTS = "Example_Lab/results/one_laptop/strong/cosmoflow"


QUICK_TRAIN_PY = """
import sys, time
from harness import cli, config
from harness.event_log import EventLog
from cosmoflow.config import Hyperparameters, System

def main():
    arguments = cli.parser("toy.train", "toy").parse_args()
    system = config.load(arguments.config, hyperparameters_type=Hyperparameters, system_type=System).system
    events = EventLog(arguments.output)
    events.point("seed", arguments.seed)
    events.start("run")
    if arguments.seed == system.fail_at_seed:
        raise RuntimeError("the toy breaks")
    if arguments.seed == system.wait_at_seed:
        time.sleep(600)
    for epoch in range(1, min(3, system.epoch_limit) + 1):
        events.point("eval_error", 1 / epoch, epoch_num=epoch)
    events.stop("run", status="success" if epoch == 3 else "aborted")

if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
"""


@pytest.fixture
def whole_toy(toy_folder, toy_environment, monkeypatch):
    """The working folder of the toy, for this process and the processes that it starts."""
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "cosmoflow"}
    monkeypatch.chdir(toy_folder)
    monkeypatch.syspath_prepend(str(toy_folder))
    for name in ("PYTHONPATH", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, toy_environment[name])
    yield toy_folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "cosmoflow"]:
        del sys.modules[name]
    sys.modules.update(real)


@pytest.fixture
def toy(whole_toy):
    """A fast toy that logs only the events that a campaign reads."""
    (whole_toy / "cosmoflow/train.py").write_text(QUICK_TRAIN_PY)
    return whole_toy


def run(*options: str) -> int:
    return campaign.main([DEMO, "--output", "out", "--runs", "2", "--seed-base", "7", *options])


def results(toy: Path) -> dict[str, int]:
    """Name -> seed of the logs in the submission."""
    return {path.name: mllog.read(path).value("seed") for path in sorted((toy / "out" / RESULTS).glob("*"))}


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def test_submission_is_whole(toy, capsys):
    assert run() == 0
    files = {str(path.relative_to(toy / "out")) for path in (toy / "out").rglob("*") if path.is_file()}
    entry = "Example_Lab/benchmarks/cosmoflow"
    scripts = {f"{entry}/one_laptop/{name}" for name in ("setup.sh", "init_datasets.sh", "run_and_time.sh")}
    assert files >= scripts | {
        "submission.toml",
        "Example_Lab/systems/one_laptop.json",
        f"{RESULTS}/result_0.txt",
        f"{RESULTS}/result_1.txt",
        f"{entry}/one_laptop/one_laptop_pytorch.json",
        f"{entry}/one_laptop/README.md",
        f"{entry}/one_laptop/hyperparameters.toml",
        f"{entry}/one_laptop/system.toml",
        f"{entry}/implementations/pytorch/cosmoflow/train.py",
        f"{entry}/implementations/pytorch/harness/run.py",
    }
    assert not [name for name in files if "__pycache__" in name]
    assert results(toy) == {"result_0.txt": 7, "result_1.txt": 8}
    assert (toy / "out/submission.toml").read_text() == 'rules = "mlperf_hpc_demo"\n'
    assert os.access(toy / "out" / entry / "one_laptop/run_and_time.sh", os.X_OK)
    description = json.loads((toy / "out/Example_Lab/systems/one_laptop.json").read_text())
    assert list(description) == ruleset.load("base").values["system_description"]["keys"]
    assert (description["submitter"], description["division"], description["status"]) == (
        "Example Lab",
        "closed",
        "research",
    )
    printed = capsys.readouterr().out
    assert "result_1.txt  seed 8  0.00 minutes  eval_error 0.3333 in epoch 3  success" in printed
    assert "2 of 2 runs complete, 2 reached the target" in printed
    assert "next: python -m compliance check out\n" in printed
    assert "python -m compliance report out --output out.html, a page to open" in printed
    assert "keys for the submitter to fill in: system_type" in printed


def test_the_copied_source_runs_alone(toy, toy_environment):
    assert run() == 0
    (copied,) = (toy / "out").glob("Example_Lab/benchmarks/cosmoflow/implementations/pytorch")
    names = "cosmoflow.train, harness.run, compliance.__main__, rules"
    line = f"import {names}, sys; print(*(sys.modules[name].__file__ for name in '{names}'.split(', ')))"
    environment = {name: value for name, value in toy_environment.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", line], cwd=copied, env=environment, capture_output=True, text=True, check=True
    )
    assert all(Path(path).is_relative_to(copied.resolve()) for path in done.stdout.split()), done.stdout


def test_checker_reads_real_runs_as_one_entry(whole_toy, capsys):
    assert run() == 0
    capsys.readouterr()
    compliance.__main__.main(["check", "out", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert report["rules"] == "mlperf_hpc_demo"
    assert [(entry["org"], entry["system"], entry["benchmark"], entry["runs"]) for entry in report["entries"]] == [
        ("Example_Lab", "one_laptop", "cosmoflow", 2)
    ]
    rules = {finding["rule"] for finding in report["findings"] if finding["severity"] == "error"}
    # two runs of ten, keys of the system that only the submitter knows, and no data whose pages could be dropped
    assert {rule for rule in rules if rule[0] not in "RS"} <= {"T115"}


def test_runs_are_as_many_as_the_rules_ask_for(toy):
    assert plan.plan(plan.parser("").parse_args([DEMO, "--output", "out"])).num_runs == 10


def test_complete_runs_are_kept(toy, capsys):
    run()
    before = {path: path.read_bytes() for path in (toy / "out" / RESULTS).iterdir()}
    assert run("--runs", "3") == 0
    assert results(toy) == {"result_0.txt": 7, "result_1.txt": 8, "result_2.txt": 9}
    assert all(path.read_bytes() == content for path, content in before.items())
    assert capsys.readouterr().out.count("(kept)") == 2


def test_missing_run_gets_a_seed_that_no_other_has(toy):
    run()
    (toy / "out" / RESULTS / "result_0.txt").unlink()
    assert run("--seed-base", "8") == 0
    assert results(toy) == {"result_0.txt": 9, "result_1.txt": 8}


def test_what_the_submitter_edited_is_kept(toy):
    run("--runs", "1")
    for name in ("systems/one_laptop.json", "benchmarks/cosmoflow/one_laptop/README.md"):
        edit(f"out/Example_Lab/{name}", "laptop", "big laptop")
    edit("out/Example_Lab/systems/one_laptop.json", '"cooling": ""', '"cooling": "a fan"')
    assert run() == 0
    assert '"cooling": "a fan"' in Path("out/Example_Lab/systems/one_laptop.json").read_text()
    assert "big laptop" in Path("out/Example_Lab/benchmarks/cosmoflow/one_laptop/README.md").read_text()


def test_failing_run_stops_the_campaign_and_shows_why(toy, capsys):
    edit(f"{DEMO}/system.toml", "num_workers = 2", "num_workers = 2\nfail_at_seed = 7")
    assert run() == 1
    printed = capsys.readouterr()
    assert "result_0: exit code 1: " in printed.err
    assert "RuntimeError: the toy breaks" in printed.err
    assert "0 of 2 runs complete" in printed.out
    assert "next: the same command runs what is missing; complete runs are kept" in printed.out
    assert results(toy) == {}
    assert '"seed", "value": 7' in (toy / "out.runs/result_0.attempt_1.txt").read_text()


def test_keep_going_leaves_out_the_failing_run_only(toy):
    edit(f"{DEMO}/system.toml", "num_workers = 2", "num_workers = 2\nfail_at_seed = 7")
    assert run("--keep-going") == 1
    assert results(toy) == {"result_1.txt": 8}


def test_failed_run_is_tried_again_and_its_log_kept(toy):
    edit(f"{DEMO}/system.toml", "num_workers = 2", "num_workers = 2\nfail_at_seed = 7")
    run()
    edit(f"{DEMO}/system.toml", "fail_at_seed = 7", "fail_at_seed = 0")
    assert run() == 0
    assert results(toy) == {"result_0.txt": 7, "result_1.txt": 8}
    assert (toy / "out.runs/result_0.attempt_1.txt").exists()


def test_run_that_ends_without_run_stop_is_no_result(toy, capsys):
    Path("cosmoflow/train.py").write_text("")
    assert run() == 1
    assert "result_0: no run_stop in its log" in capsys.readouterr().err
    assert results(toy) == {}


def test_unreached_target_is_a_complete_run(toy, capsys):
    edit(f"{DEMO}/system.toml", "num_workers = 2", "num_workers = 2\nepoch_limit = 1")
    assert run() == 0
    printed = capsys.readouterr().out
    assert "eval_error 1 in epoch 1  aborted" in printed
    assert "2 of 2 runs complete, 0 reached the target" in printed


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (f"{DEMO}/hyperparameters.toml", "0.001", "0.002"),
        (f"{DEMO}/system.toml", "num_workers = 2", "num_workers = 3"),
        ("cosmoflow/train.py", '"toy"', '"another toy"'),
    ],
)
def test_results_of_something_else_are_not_mixed(toy, path, old, new):
    run("--runs", "1")
    edit(path, old, new)
    with pytest.raises(UserError, match="differs from what would run now"):
        run()
    assert results(toy) == {"result_0.txt": 7}


def test_other_rules_are_not_mixed(toy):
    (toy / "out").mkdir()
    (toy / "out/submission.toml").write_text('rules = "mlperf_hpc_2.0"\n')
    with pytest.raises(UserError, match=r"found 'mlperf_hpc_2.0', expected 'mlperf_hpc_demo'"):
        run()


def test_incomplete_log_in_the_submission_is_not_touched(toy):
    run("--runs", "1")
    (toy / "out" / RESULTS / "result_1.txt").write_text("cut off")
    with pytest.raises(CampaignError, match=r"result_1.txt: no run_stop"):
        run()
    assert (toy / "out" / RESULTS / "result_1.txt").read_text() == "cut off"


def test_missing_script_is_named_before_anything_runs(toy):
    Path("cosmoflow/launch/setup.sh").unlink()
    with pytest.raises(UserError, match=r"launch/setup.sh: missing"):
        run()
    assert not (toy / "out").exists()


def test_configuration_is_checked_before_anything_runs(toy):
    edit(f"{DEMO}/hyperparameters.toml", "0.001", "-1")
    with pytest.raises(ConfigError, match="opt_base_learning_rate: found -1"):
        run()
    assert not (toy / "out").exists()


def test_benchmark_that_does_not_exist(toy):
    with pytest.raises(CampaignError, match=r"found no astrology.train"):
        run("--benchmark", "astrology")


def test_folder_outside_a_benchmark(tmp_path):
    with pytest.raises(CampaignError, match="name the benchmark with --benchmark"):
        campaign.main([str(tmp_path), "--output", str(tmp_path / "out")])


@pytest.fixture
def waiting(toy, toy_environment):
    """A campaign in a process of its own; its second run waits."""
    edit(f"{DEMO}/system.toml", "num_workers = 2", "num_workers = 2\nwait_at_seed = 8")
    line = [sys.executable, "-m", "harness.campaign", DEMO, "--output", "out", "--runs", "2", "--seed-base", "7"]
    process = subprocess.Popen(line, env=toy_environment, cwd=toy, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (toy / WAITING_LOG).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    yield process
    process.kill()
    process.communicate()


def test_a_second_campaign_on_the_same_output_ends_in_one_line(toy, waiting):
    with pytest.raises(LockError, match=rf"out: in use by process {waiting.pid} on"):
        run()
    assert results(toy) == {"result_0.txt": 7}


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_campaign_takes_its_training_with_it(toy, waiting):
    (training,) = psutil.Process(waiting.pid).children()
    waiting.kill()
    training.wait(20)
    assert not training.is_running()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_campaign_goes_on_where_it_stood(toy, waiting, number):
    waiting.send_signal(number)
    _, printed = waiting.communicate(timeout=60)
    assert (waiting.returncode, printed) == (128 + number, b"")
    assert results(toy) == {"result_0.txt": 7}
    assert run("--seed-base", "9") == 0
    assert results(toy) == {"result_0.txt": 7, "result_1.txt": 9}
    assert (toy / WAITING_LOG).exists()
