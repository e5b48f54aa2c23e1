# SPDX-License-Identifier: Apache-2.0
"""Run writes a legal event log however its block ends, and refuses an illegal order."""

import hashlib
import json
import math
import os
import subprocess
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import compliance.__main__
from compliance import mllog
from compliance.files.lock import LockError
from compliance.log_digest import broken_links
from compliance.submissions import source_code
from harness.data.manifest import Manifest
from harness.loss_watch import NonFiniteLossError
from harness.monitoring import energy
from harness.monitoring.energy import Counter
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
    """Keys of the events, without digests of the log."""
    return [record["key"] for record in records(path) if record["key"] != "log_digest"]


def run_stop(path: Path) -> dict:
    stop, digest = records(path)[-2:]
    assert (stop["key"], digest["key"]) == ("run_stop", "log_digest")
    return stop["metadata"]


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
    in_some_places = ("code_commit", "energy_joules")
    assert [key for key in keys(output) if key not in in_some_places] == [
        *["submission_benchmark", "submission_org", "submission_division", "submission_status"],
        *["submission_platform", "rule_set", "cache_clear", "init_start", "seed", "code_sha256"],
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
    capsys.readouterr()
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
    seeds = set()
    for number in range(4):
        with Run(make_config(), tmp_path / str(number)) as run:
            seeds.add(run.seed)
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
    assert [key for key in keys(output) if key != "energy_joules"][-3:] == ["tracked_stats", "epoch_stop", "run_stop"]
    assert 12 / 1.0 < mllog.read(output).value("tracked_stats")["throughput"] < 12 / 0.03


def test_a_second_run_with_the_same_log_ends_in_one_line(make_config, output):
    with (
        Run(make_config(), output),
        pytest.raises(LockError, match=f"result_0.txt: in use by process {os.getpid()} on"),
        Run(make_config(), output, resume=True),
    ):
        pass
    start_again = keys(output)
    assert start_again.count("run_stop") == 1
    assert run_stop(output)["status"] == "aborted"
    assert [path.name for path in output.parent.iterdir()] == ["result_0.txt"]


def test_an_edited_log_breaks_its_chain_of_digests(make_config, output):
    with Run(make_config(), output) as run:
        train(run, [0.5, 0.4321])
    assert [record["key"] for record in records(output)].count("log_digest") == 3
    assert list(broken_links(output)) == []
    output.write_text(output.read_text().replace("0.4321", "0.4221"))
    assert [link.line for link in broken_links(output)] == [
        number for number, record in enumerate(records(output), 1) if record["key"] == "log_digest"
    ][1:]


def test_the_log_names_rules_and_digests_of_code_configuration_and_data(make_config, output, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.json").write_text("{}")
    (tmp_path / "system.toml").write_text("[system]")
    config = replace(make_config(), system_path=tmp_path / "system.toml")
    with Run(config, output, data=tmp_path / "data"):
        pass
    log = mllog.read(output)
    assert log.value("rule_set") == "mlperf_hpc_demo"
    assert log.value("data_manifest_sha256") == hashlib.sha256(b"{}").hexdigest()
    assert log.value("system_sha256") == hashlib.sha256(b"[system]").hexdigest()
    assert log.value("code_sha256") == source_code.digest(source_code.as_installed("cosmoflow").files)


def test_the_digest_of_code_is_that_of_sha256sum(tmp_path):
    files = {"a/z.py": b"1", "a/b.py": b"22", "a.toml": b""}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    line = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == source_code.digest(files)


@pytest.mark.parametrize("error", [None, RuntimeError()])
def test_energy_from_run_start_to_run_stop_is_logged_with_its_source(make_config, output, monkeypatch, error):
    totals = iter([100.0, 142.5])
    about = {"source": "nvml", "scope": "accelerators", "coverage": "4 of 4 accelerators"}
    monkeypatch.setattr(energy, "find_counter", lambda: Counter(read=lambda: next(totals), **about))
    with suppress(RuntimeError), Run(make_config(), output) as run:
        train(run, [0.3])
        if error:
            raise error
    logged = [record for record in records(output) if record["key"] == "energy_joules"]
    if error:  # other nodes cannot be asked
        assert logged == []
        return
    assert logged[0]["value"] == 42.5
    assert about.items() <= logged[0]["metadata"].items()
    assert logged[0]["metadata"]["num_nodes"] == 1


def test_without_a_counter_no_energy_is_logged(make_config, output, monkeypatch):
    monkeypatch.setattr(energy, "find_counter", lambda: None)
    with Run(make_config(), output) as run:
        train(run, [0.3])
    assert "energy_joules" not in keys(output)


def train_with_losses(run: Run, losses: list[float]) -> None:
    start(run)
    for epoch in run.epochs(2):
        with run.progress(epoch, num_steps=len(losses)) as bar:
            for loss in losses:
                bar.update(num_samples=1, loss=torch.tensor(loss))
        with run.evaluation(epoch) as result:
            result.value = 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [1, 3, 100, 101, 250])
def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_step(make_config, output, bad, step):
    losses = [0.5] * 250
    losses[step - 1] = bad
    expected = f"epoch 1, step {step}: the loss is NaN or infinite; try a lower learning rate"
    with pytest.raises(NonFiniteLossError, match=expected), Run(make_config(), output) as run:
        train_with_losses(run, losses)
    stop = run_stop(output)
    assert (stop["status"], stop["reason"], stop["epoch_num"]) == ("aborted", "NonFiniteLossError", 1)
    assert f"step {step}: the loss is NaN" in stop["message"]


def test_fp16_may_skip_as_many_steps_as_the_system_allows(make_config, tmp_path):
    for precision, num_allowed, message in (
        ("fp16", 4, None),
        ("fp16", 3, "epoch 2, step 3: .* after 3 such steps that nonfinite_steps_allowed permits"),
        ("fp32", 4, "epoch 1, step 2"),
    ):
        system = SimpleNamespace(precision=precision, nonfinite_steps_allowed=num_allowed)
        config, log = replace(make_config(), system=system), tmp_path / f"{precision}_{num_allowed}.txt"
        with (
            pytest.raises(NonFiniteLossError, match=message) if message else nullcontext(),
            Run(config, log) as run,
        ):
            train_with_losses(run, [0.5, math.nan, math.inf])


@pytest.mark.parametrize(
    ("qualities", "rules", "last"),
    [
        ([0.5, 0.3], {}, "target met in epoch 2 after 0.0 minutes: eval_error 0.3; log: "),
        ([0.5, 0.6], {}, "target not met in 2 epochs after 0.0 minutes: eval_error 0.6, target at most 0.43; log: "),
        ([0.5, 0.6], {"num_epochs": 2}, "all 2 epochs done after 0.0 minutes: eval_error 0.6; log: "),
    ],
)
def test_a_run_prints_a_line_at_start_for_each_evaluation_and_at_its_end(
    make_config, output, capsys, qualities, rules, last
):
    with Run(make_config(**rules), output, seed=7, data=output.parent) as run:
        run.log("precision", "bf16")
        train(run, qualities)
    first, *evaluations, closing = capsys.readouterr().out.splitlines()
    assert first == (
        f"cosmoflow, closed, mlperf_hpc_demo: 1 rank (cpu), bf16, seed 7, data {output.parent}, log {output}"
    )
    assert [line.partition(",")[0] for line in evaluations] == [
        f"epoch {epoch}: eval_error {value}" for epoch, value in enumerate(qualities, 1)
    ]
    assert closing == f"{last}{output}"


def test_an_aborted_run_says_so_and_why(make_config, output, capsys):
    with suppress(Terminated), Run(make_config(), output) as run:
        start(run)
        next(run.epochs())
        raise Terminated
    assert (
        capsys.readouterr().out.splitlines()[-1] == f"aborted in epoch 1 after 0.0 minutes: Terminated; log: {output}"
    )
