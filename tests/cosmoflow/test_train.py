# SPDX-License-Identifier: Apache-2.0
"""CosmoFlow's train command on a handful of small universes, in one process and in two."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import cosmoflow
from compliance import mllog
from cosmoflow import train
from cosmoflow.config import Hyperparameters, System, check_job
from cosmoflow.synthesize import Simulation, synthesize
from harness import config
from harness.checkpoint import CheckpointError
from harness.config import ConfigError
from harness.distributed.spatial import Grid
from harness.distributed.world import World
from harness.precision import Precision
from harness.step import Step
from tests import commands

CONFIGS = Path(cosmoflow.__file__).parent / "configs"

HYPERPARAMETERS = """
rules = "mlperf_hpc_demo"
division = "{division}"
[hyperparameters]
opt_base_learning_rate = 0.005
opt_learning_rate_warmup_epochs = 1
opt_learning_rate_warmup_factor = 2
dropout = {dropout}
{open_only}
[batch]
global_batch_size = 4
"""
SYSTEM = """
[submission]
org = "Test"
platform = "test"
status = "research"
[system]
max_epochs = {max_epochs}
{lines}
"""


@pytest.fixture(scope="session")
def universes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("universes")
    synthesize(folder, Simulation(), {"train": 11, "validation": 5}, num_processes=1)  # 3 of 11 fill no batch
    return folder


@pytest.fixture
def configure(tmp_path):
    """Write a configuration folder."""

    def write(*, dropout=0.0, max_epochs=2, lines="", division="closed", open_only="") -> Path:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        head = HYPERPARAMETERS.format(division=division, dropout=dropout, open_only=open_only)
        (folder / "hyperparameters.toml").write_text(head)
        (folder / "system.toml").write_text(SYSTEM.format(max_epochs=max_epochs, lines=lines))
        return folder

    return write


train_command = partial(commands.run, "-m", "cosmoflow.train")


def run_here(folder: Path, data: Path, output: Path, seed: int = 3) -> list[float]:
    """Train in this process; the evaluations."""
    torch.set_num_threads(1)
    train.main(["--config", str(folder), "--data", str(data), "--output", str(output), "--seed", str(seed)])
    return evaluations(output)


def evaluations(log: Path) -> list[float]:
    return [event.value for event in mllog.read(log).all("eval_error")]


def test_a_run_logs_everything_that_the_checker_wants(configure, universes, tmp_path):
    log = tmp_path / "result_0.txt"
    run = train_command("--config", configure(), "--data", universes, "--output", log, "--seed", 3)
    assert run.returncode == 0, run.stderr
    read = mllog.read(log)
    assert (read.value("train_samples"), read.value("eval_samples"), read.value("seed")) == (11, 5, 3)
    assert read.value("data_is_synthetic") is True
    assert read.value("precision") == "fp32"
    epochs = [event.metadata.epoch_num for event in read.all("eval_error")]
    assert epochs == list(range(1, len(epochs) + 1))
    errors = commands.errors(log, "mlperf_hpc_demo")
    assert all("samples is" in error or "aborted" in error or "target" in error for error in errors), errors


def test_the_same_seed_gives_the_same_losses_and_another_seed_does_not(configure, universes, tmp_path):
    folder = configure(dropout=0.5)
    first, second = (run_here(folder, universes, tmp_path / f"{name}.txt") for name in "ab")
    assert first == second
    assert first != run_here(folder, universes, tmp_path / "c.txt", seed=4)


def test_two_ranks_give_the_result_of_one(configure, universes, tmp_path):
    folder = configure(lines="evaluation_batch_size = 1")  # 5 samples: one rank evaluates more often than the other
    alone = run_here(folder, universes, tmp_path / "alone.txt")
    log = tmp_path / "together.txt"
    run = train_command("--config", folder, "--data", universes, "--output", log, "--seed", 3, num_ranks=2)
    assert run.returncode == 0, run.stderr
    assert mllog.read(log).value("number_of_ranks") == 2
    assert evaluations(log) == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize(
    ("spatial_parts", "num_ranks"),
    [("[2]", 2), pytest.param("[1, 2]", 4, marks=pytest.mark.slow), pytest.param("[2, 2]", 4, marks=pytest.mark.slow)],
)
def test_ranks_that_share_samples_give_the_result_of_one(configure, universes, tmp_path, spatial_parts, num_ranks):
    fields = (
        {"dropout": 0.5, "max_epochs": 1} if spatial_parts != "[1, 2]" else {"max_epochs": 1}
    )  # 2 replicas draw 2 masks
    alone = run_here(configure(**fields), universes, tmp_path / "alone.txt")
    folder, log = configure(**fields, lines=f"spatial_parts = {spatial_parts}"), tmp_path / "together.txt"
    run = train_command("--config", folder, "--data", universes, "--output", log, "--seed", 3, num_ranks=num_ranks)
    assert run.returncode == 0, run.stderr
    assert mllog.read(log).value("number_of_ranks") == num_ranks
    assert evaluations(log) == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize(
    "lines",
    ["pool_first = true", "channels_last = true", "cache = true", "num_workers = 1", "evaluation_batch_size = 1"],
)
def test_system_settings_leave_the_result_alone(configure, universes, tmp_path, lines):
    plain = run_here(configure(max_epochs=1), universes, tmp_path / "plain.txt")
    changed = run_here(configure(max_epochs=1, lines=lines), universes, tmp_path / "changed.txt")
    assert changed == pytest.approx(plain, rel=1e-4)


def test_bf16_changes_the_result_by_little(configure, tmp_path):
    """Boxes of 64 voxels: oneDNN's weight gradient on the 2^3 voxels that boxes of 32 end in is wrong on some CPUs."""
    universes = tmp_path / "universes"
    synthesize(universes, Simulation(size=64), {"train": 4, "validation": 2}, num_processes=1)
    fp32 = run_here(configure(max_epochs=1), universes, tmp_path / "fp32.txt")
    bf16 = run_here(configure(max_epochs=1, lines='precision = "bf16"'), universes, tmp_path / "bf16.txt")
    assert bf16 != fp32
    assert bf16 == pytest.approx(fp32, abs=0.02)


@pytest.mark.slow
def test_compiling_leaves_the_result_alone(configure, universes, tmp_path):
    plain = run_here(configure(max_epochs=1), universes, tmp_path / "plain.txt")
    compiled = run_here(configure(max_epochs=1, lines="compile = true"), universes, tmp_path / "compiled.txt")
    assert compiled == pytest.approx(plain, rel=1e-4)


def test_augmentation_changes_training_in_open(configure, universes, tmp_path):
    plain = run_here(configure(max_epochs=1), universes, tmp_path / "plain.txt")
    folder = configure(max_epochs=1, division="open", open_only='augmentation = "cube_symmetries"')
    assert run_here(folder, universes, tmp_path / "turned.txt") != plain


def test_ctrl_c_closes_the_log_without_a_traceback(configure, universes, tmp_path):
    log = tmp_path / "result_0.txt"
    arguments = ["--config", configure(max_epochs=10_000), "--data", universes, "--output", log]
    process = subprocess.Popen(
        [sys.executable, "-m", "cosmoflow.train", *map(str, arguments)],
        cwd=commands.ROOT,
        env=commands.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and "eval_error" in log.read_text()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no evaluation within two minutes"
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in printed
    stop = mllog.read(log).first("run_stop")
    assert stop.metadata.status == "aborted"


@pytest.mark.slow
def test_ranks_that_share_samples_resume_together(configure, universes, tmp_path):
    logs = {}
    for name, max_epochs in (("whole", 3), ("parts", 1), ("parts", 3)):
        lines = "checkpoint_every_epochs = 1\nspatial_parts = [2]"
        folder = configure(dropout=0.5, max_epochs=max_epochs, lines=lines)
        logs[name] = tmp_path / f"{name}.txt"
        arguments = ["--config", folder, "--data", universes, "--output", logs[name], "--seed", 3, "--resume"]
        run = train_command(*arguments, num_ranks=2)
        assert run.returncode == 0, run.stderr
    assert evaluations(logs["parts"]) == evaluations(logs["whole"])
    assert len(mllog.read(logs["parts"]).all("restart")) == 1


def test_no_step_waits_for_the_device(configure, universes, tmp_path, guarded_steps):
    folder = configure(
        dropout=0.5,
        max_epochs=1,
        division="open",
        open_only='augmentation = "cube_symmetries"',
        lines="channels_last = true\nevaluation_batch_size = 2",
    )
    run_here(folder, universes, tmp_path / "guarded.txt")
    assert guarded_steps == {"training": 2, "evaluation": 3}


def test_a_warm_up_before_the_clock_leaves_the_result_alone(configure, universes, tmp_path):
    plain = run_here(configure(dropout=0.5), universes, tmp_path / "plain.txt")
    warm = run_here(configure(dropout=0.5, lines="warm_up_steps = 2"), universes, tmp_path / "warm.txt")
    assert warm == plain


def test_a_trace_of_one_step_is_written_beside_the_log(configure, universes, tmp_path):
    run_here(configure(max_epochs=1, lines='profile = "1:1"'), universes, tmp_path / "log.txt")
    names = {event.get("name") for event in json.loads((tmp_path / "log.trace.json").read_text())["traceEvents"]}
    assert names >= {"data", "forward", "backward", "optimizer"}


def test_a_cuda_graph_is_refused_on_a_cpu_before_any_log(configure, universes, tmp_path):
    arguments = ["--config", str(configure(lines="cuda_graph = true")), "--data", str(universes)]
    with pytest.raises(ConfigError, match=r"\[system\] cuda_graph: found True on a CPU; it needs an accelerator"):
        train.main([*arguments, "--output", str(tmp_path / "log.txt")])
    assert not (tmp_path / "log.txt").exists()


def test_resume_refuses_another_data_set_and_accepts_a_copy(configure, universes, tmp_path):
    log, lines = tmp_path / "result_0.txt", "checkpoint_every_epochs = 1"
    run_here(configure(max_epochs=1, lines=lines), universes, log)
    other = tmp_path / "other"
    synthesize(other, Simulation(), {"train": 11, "validation": 4}, num_processes=1)
    arguments = ["--config", str(configure(max_epochs=2, lines=lines)), "--output", str(log), "--resume"]
    before = log.read_bytes()
    with pytest.raises(CheckpointError, match=r"data_manifest_sha256: the run began with .* and the data set"):
        train.main([*arguments, "--data", str(other)])
    assert log.read_bytes() == before
    train.main([*arguments, "--data", str(shutil.copytree(universes, tmp_path / "copy"))])
    assert len(evaluations(log)) == 2


def fake_run(num_ranks: int = 1, **fields) -> SimpleNamespace:
    """As much of a Run as building a model or an evaluation needs."""
    settings = SimpleNamespace(
        hyperparameters=Hyperparameters(**fields), system=System(), rules=SimpleNamespace(name="mlperf_hpc_3.0")
    )
    return SimpleNamespace(seed=1, world=World(num_ranks=num_ranks), config=settings)


class Echo(nn.Module):
    """Predicts the log counts of the first voxels."""

    def forward(self, volume_NCDHW):
        return volume_NCDHW.flatten(1)[:, :4]


def test_the_metric_weighs_every_sample_alike_whatever_the_batches():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 5, (7, 4, 2, 2, 2)).astype(np.int16)
    targets = generator.uniform(-1, 1, (7, 4)).astype(np.float32)
    expected = np.abs(np.log1p(counts.reshape(7, -1)[:, :4]) - targets).mean()
    pieces = [slice(0, 4), slice(4, 6), slice(6, 7)]
    batches = [(torch.from_numpy(counts[piece]), torch.from_numpy(targets[piece])) for piece in pieces]
    measure = Step(partial(train.absolute_errors, Echo(), Precision("fp32", "cpu")), Echo(), training=False)
    found = train.mean_absolute_error(fake_run(), measure, batches)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_round_decides_the_kernel():
    run = fake_run()
    assert train.build_model(run, Grid(), input_size=32).blocks[0][0].kernel_size == (3, 3, 3)
    run.config.rules.name = "mlperf_hpc_0.7"
    assert train.build_model(run, Grid(), input_size=32).blocks[0][0].kernel_size == (2, 2, 2)


def test_weight_decay_is_on_the_hidden_dense_kernels_only():
    run = fake_run(opt_weight_decay=0.02)
    model = train.build_model(run, Grid(), input_size=32)
    decayed, free = train.build_optimizer(model, run.config.hyperparameters).param_groups
    assert {id(kernel) for kernel in decayed["params"]} == {id(model.hidden1.weight), id(model.hidden2.weight)}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.02, 0.0)
    assert decayed["momentum"] == 0.9


def test_an_unequal_share_is_refused():
    settings = config.load(CONFIGS / "closed", hyperparameters_type=Hyperparameters, system_type=System)
    check_job(settings, num_ranks=16, device_type="cpu")
    with pytest.raises(ConfigError, match="64 samples cannot be shared equally by 3 ranks"):
        check_job(settings, num_ranks=3, device_type="cpu")


def test_ranks_that_share_samples_need_not_divide_the_batch():
    settings = config.load(CONFIGS / "closed", hyperparameters_type=Hyperparameters, system_type=System)
    settings = replace(settings, system=replace(settings.system, spatial_parts=(2, 2)))
    check_job(settings, num_ranks=256, device_type="cpu")
    with pytest.raises(ConfigError, match="64 samples cannot be shared equally by 65 grids of 4 ranks"):
        check_job(settings, num_ranks=260, device_type="cpu")
    with pytest.raises(ConfigError, match="4 ranks per sample, and 6 ranks; launch a multiple of 4"):
        check_job(settings, num_ranks=6, device_type="cpu")


def rates(hyperparameters: Hyperparameters, num_epochs: int) -> list[float]:
    return [train.learning_rate(epoch, hyperparameters) for epoch in range(num_epochs)]


def test_reference_learning_rates():
    assert rates(Hyperparameters(), 67) == pytest.approx([0.001] * 33 + [0.00025] * 32 + [0.000125] * 2)


@pytest.mark.parametrize(
    ("schedule", "fields", "expected"),
    [
        ("linear", {}, [0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        ("linear", {"opt_end_learning_rate": 0.2}, [0.5, 0.75, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2]),
        ("polynomial", {"opt_learning_rate_decay_poly_power": 2.0}, [0.5, 0.75, 1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]),
        ("cosine", {}, [0.5, 0.75, 1.0, 0.853553, 0.5, 0.146447, 0.0, 0.0]),
    ],
)
def test_open_schedules_decay_from_the_end_of_warm_up(schedule, fields, expected):
    hyperparameters = Hyperparameters(
        opt_base_learning_rate=1.0,
        opt_learning_rate_warmup_epochs=2,
        opt_learning_rate_warmup_factor=2.0,
        opt_learning_rate_decay_schedule=schedule,
        opt_learning_rate_decay_epochs=6,
        **fields,
    )
    assert rates(hyperparameters, 8) == pytest.approx(expected, abs=1e-6)
