# SPDX-License-Identifier: Apache-2.0
"""Run writes a legal event log however its block ends, and refuses an illegal order."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import compliance.__main__
from compliance import mllog
from harness.data.manifest import Manifest
from harness.run import Run, RunError
from harness.signals import Terminated

INTERVALS = {"init", "run", "staging", "epoch", "eval"}


def start(run: Run) -> None:
    run.log("train_samples", 256)
    run.log("eval_samples", 256)
    run.start()


def train(run: Run, qualities: list, limit: int | None = None) -> None:
    start(run)
    for epoch in run.epochs(limit or len(qualities)):
        with run.evaluation(epoch) as result:
            result.value = qualities[epoch - 1]
        if run.reached(result):
            break


def records(path: Path) -> list[dict]:
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in path.read_text().splitlines()]


def keys(path: Path) -> list[str]:
    return [record["key"] for record in records(path)]


def run_stop(path: Path) -> dict:
    last = records(path)[-1]
    assert last["key"] == "run_stop"
    return last["metadata"]


def still_open(path: Path) -> list[str]:
    """Intervals of a log that are open at its end; an interval that closes must be the innermost."""
    stack = []
    for key in keys(path):
        name, _, end = key.rpartition("_")
        if name in INTERVALS and end == "start":
            stack.append(name)
        elif name in INTERVALS and end == "stop" and (name != "run" or "run_start" in keys(path)):
            assert stack.pop() == name
    return stack


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "result_0.txt"


def test_events_of_a_whole_run_in_order(make_config, output):
    with Run(make_config(), output, seed=7) as run:
        train(run, [0.5, 0.3])
    epoch = ["epoch_start", "eval_start", "eval_error", "eval_stop", "epoch_stop"]
    assert [key for key in keys(output) if key != "code_commit"] == [  # present in a checkout only
        *["submission_benchmark", "submission_org", "submission_division", "submission_status"],
        *["submission_platform", "cache_clear", "init_start", "seed"],
        *["global_batch_size", "opt_name", "opt_base_learning_rate", "opt_learning_rate_warmup_epochs"],
        *["opt_learning_rate_warmup_factor", "opt_learning_rate_decay_boundary_epochs"],
        "opt_learning_rate_decay_factor",
        *["number_of_nodes", "number_of_ranks", "accelerators_per_node", "train_samples", "eval_samples"],
        *["init_stop", "run_start", *epoch, *epoch, "run_stop"],
    ]


def test_values_types_and_epoch_numbers(make_config, output):
    with Run(make_config(), output, seed=7) as run:
        train(run, [0.5, np.float32(0.25)])
    log = mllog.read(output)
    assert (log.value("seed"), log.value("submission_org"), log.value("cache_clear")) == (7, "Example Lab", False)
    assert log.value("opt_learning_rate_decay_factor") == [0.5, 0.25]
    assert [(event.value, event.metadata.epoch_num) for event in log.all("eval_error")] == [(0.5, 1), (0.25, 2)]
    kinds = {
        event.key.rpartition("_")[2]: event.event_type for event in log.events if event.key.endswith(("art", "op"))
    }
    assert kinds == {"start": "INTERVAL_START", "stop": "INTERVAL_END"}
    assert log.first("eval_error").event_type == "POINT_IN_TIME"
    assert run_stop(output)["status"] == "success"


def test_events_tell_the_line_of_the_training_loop(make_config, output):
    with Run(make_config(), output) as run:
        train(run, [0.3])
    assert all(record["metadata"]["file"].endswith("tests/harness/test_run.py") for record in records(output))


def test_checker_finds_no_fault_in_the_order(make_config, output, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sample").write_bytes(b"0")
    with Run(make_config(), output, seed=7, data=tmp_path / "data") as run:
        train(run, [0.5, 0.3])
    compliance.__main__.main(["check", str(output), "--rules", "mlperf_hpc_demo", "--format", "json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [finding for finding in findings if finding["severity"] == "error"] == []


@pytest.mark.parametrize("quality", [0.4301, math.nan, math.inf, -math.inf, 0.0, -0.1])
def test_target_not_met_is_no_success(make_config, output, quality):
    with Run(make_config(), output) as run:
        train(run, [quality, quality])
    assert keys(output).count("eval_error") == 2
    assert run_stop(output) | {"file": 0, "lineno": 0} == {"status": "aborted", "epoch_num": 2, "file": 0, "lineno": 0}


@pytest.mark.parametrize("quality", [0.4, 0.1, np.float64(0.4), torch.tensor(0.25)])
def test_target_met_stops_with_success(make_config, output, quality):
    with Run(make_config(), output) as run:
        train(run, [0.5, quality, 0.5])
    assert keys(output).count("eval_error") == 2
    assert run_stop(output)["status"] == "success"


def test_target_met_earlier_stays_a_success(make_config, output):
    with Run(make_config(), output) as run:
        start(run)
        for epoch in run.epochs(2):
            with run.evaluation(epoch) as result:
                result.value = [0.3, 0.9][epoch - 1]
    assert run_stop(output)["status"] == "success"


def test_larger_is_better_where_the_rules_say_so(make_config, output):
    with Run(make_config("mlperf_hpc_3.0", "deepcam", "open"), output) as run:
        train(run, [0.81, 0.82, 0.9])
    assert [record["value"] for record in records(output) if record["key"] == "eval_accuracy"] == [0.81, 0.82]
    assert run_stop(output)["status"] == "success"


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), Terminated(), SystemExit(3)])
def test_exception_closes_what_is_open(make_config, output, error):
    def fail(run: Run) -> None:
        start(run)
        for epoch in run.epochs():
            with run.evaluation(epoch):
                raise error

    with pytest.raises(type(error)), Run(make_config(), output) as run:
        fail(run)
    assert keys(output)[-3:] == ["eval_stop", "epoch_stop", "run_stop"]
    assert still_open(output) == []
    assert (run_stop(output)["status"], run_stop(output)["reason"]) == ("aborted", type(error).__name__)


def test_exception_after_the_target_is_no_success(make_config, output):
    def fail(run: Run) -> None:
        start(run)
        for epoch in run.epochs():
            with run.evaluation(epoch) as result:
                result.value = 0.3
            raise RuntimeError

    with pytest.raises(RuntimeError), Run(make_config(), output) as run:
        fail(run)
    assert run_stop(output)["status"] == "aborted"


def test_exception_before_the_clock_closes_initialisation(make_config, output):
    with pytest.raises(RuntimeError), Run(make_config(), output):
        raise RuntimeError
    assert keys(output)[-2:] == ["init_stop", "run_stop"]
    assert run_stop(output)["status"] == "aborted"


def test_leaving_the_loop_early_is_aborted(make_config, output):
    with Run(make_config(), output) as run:
        start(run)
        for _ in run.epochs():
            break
    assert keys(output)[-2:] == ["epoch_stop", "run_stop"]
    assert run_stop(output)["status"] == "aborted"


def test_clock_stops_when_the_epochs_are_done(make_config, output):
    with Run(make_config(), output) as run:
        train(run, [0.5])
        assert keys(output)[-1] == "run_stop"
        with pytest.raises(RunError):
            run.log("late", 1)
    assert keys(output).count("run_stop") == 1


def test_fixed_epochs_never_stop_early(make_config, output):
    config = make_config("hpc_ai500_2.0", "imagenet_resnet", num_epochs=3)
    with Run(config, output) as run:
        train(run, [0.9, 0.9, 0.1], limit=1)
    assert keys(output).count("eval_accuracy") == 3
    assert run_stop(output)["status"] == "success"


def test_fixed_epochs_cut_short_are_no_success(make_config, output):
    config = make_config("hpc_ai500_2.0", "imagenet_resnet", num_epochs=3)
    with Run(config, output) as run:
        start(run)
        for epoch in run.epochs():
            with run.evaluation(epoch) as result:
                result.value = 0.9
            if epoch == 2:
                break
    assert run_stop(output)["status"] == "aborted"


def test_fixed_epochs_need_no_evaluation_in_each(make_config, output):
    config = make_config("hpc_ai500_2.0", "imagenet_resnet", num_epochs=2)
    with Run(config, output) as run:
        start(run)
        assert list(run.epochs()) == [1, 2]
    assert run_stop(output)["status"] == "success"


def test_hyperparameter_that_the_division_asks_for_must_be_logged(make_config, tmp_path):
    with (
        pytest.raises(RunError, match=r"not logged yet: .*gradient_accumulation_frequency.*opt_lr"),
        Run(make_config("mlperf_hpc_3.0", "deepcam"), tmp_path / "closed.txt") as run,
    ):
        start(run)
    with Run(make_config("mlperf_hpc_3.0", "deepcam", "open"), tmp_path / "open.txt") as run:
        start(run)
    assert "run_start" in keys(tmp_path / "open.txt")


def test_staging_on_the_clock(make_config, output):
    with Run(make_config("mlperf_hpc_2.0"), output) as run:
        start(run)
        with run.staging():
            time.sleep(0.02)
    assert keys(output)[-4:] == ["run_start", "staging_start", "staging_stop", "run_stop"]
    stop = next(record for record in records(output) if record["key"] == "staging_stop")
    assert 0.02 <= stop["metadata"]["staging_duration"] < 1


def test_staging_before_the_clock_only_where_the_rules_leave_it_free(make_config, tmp_path):
    with Run(make_config("mlperf_hpc_3.0"), tmp_path / "free.txt") as run:
        with run.staging():
            pass
        start(run)
    assert keys(tmp_path / "free.txt").index("staging_stop") < keys(tmp_path / "free.txt").index("init_stop")
    with (
        pytest.raises(RunError, match=r"mlperf_hpc_2.0 times it"),
        Run(make_config("mlperf_hpc_2.0"), tmp_path / "timed.txt") as run,
        run.staging(),
    ):
        pass


class Samples(list):
    """Samples with the manifest of their data set."""

    manifest: Manifest | None


@pytest.mark.parametrize("synthetic", [True, False, None])
def test_synthetic_data_is_marked_where_a_manifest_says_so(make_config, output, synthetic):
    train_set, validation_set = Samples(range(12)), Samples(range(5))
    train_set.manifest = validation_set.manifest = None
    if synthetic is not None:
        train_set.manifest = Manifest(
            benchmark="cosmoflow",
            synthetic=synthetic,
            format="hdf5",
            arrays={},
            splits={},
            provenance={},
            tool="test",
            tool_version="0",
        )
    with Run(make_config(), output) as run:
        run.log_data(train_set, validation_set)
        run.start()
    log = mllog.read(output)
    assert (log.value("train_samples"), log.value("eval_samples")) == (12, 5)
    assert log.value("data_is_synthetic") == (True if synthetic else None)


def test_seed_is_drawn_anew_where_none_is_given(make_config, tmp_path):
    seeds = {Run(make_config(), tmp_path / "unused").seed for _ in range(4)}
    assert len(seeds) == 4
    assert all(seed > 0 for seed in seeds)


def test_throughput_is_logged_in_its_epoch(make_config, output):
    with Run(make_config(), output) as run:
        start(run)
        for epoch in run.epochs(1):
            with run.progress(epoch, num_steps=3) as bar:
                for _ in range(3):
                    time.sleep(0.01)
                    bar.update(num_samples=4, loss=torch.tensor(1.0))
            with run.evaluation(epoch) as result:
                result.value = 0.5
    assert keys(output)[-3:] == ["tracked_stats", "epoch_stop", "run_stop"]
    assert 12 / 1.0 < records(output)[-3]["value"]["throughput"] < 12 / 0.03
