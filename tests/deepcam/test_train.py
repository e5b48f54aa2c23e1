# SPDX-License-Identifier: Apache-2.0
"""DeepCAM's train command on a handful of small climates, in one process and in two."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest
import torch
from torch import nn

import deepcam
from compliance import mllog
from deepcam import train
from deepcam.channel_statistics import Normalise
from deepcam.config import Hyperparameters, System, check_job
from deepcam.loss import weighted_cross_entropy
from deepcam.synthesize import World as Climate
from deepcam.synthesize import synthesize
from harness import config
from harness.config import ConfigError
from harness.distributed.world import World
from harness.precision import Precision
from tests import commands

CONFIGS = Path(deepcam.__file__).parent / "configs"

HYPERPARAMETERS = """
rules = "mlperf_hpc_demo"
division = "{division}"
[hyperparameters]
opt_name = "Adam"
opt_lr = 0.0005
opt_weight_decay = 0.0
scheduler_type = "multistep"
scheduler_milestones = [3]
scheduler_lr_warmup_steps = 2
{lines}
[batch]
global_batch_size = 4
batchnorm_group_size = {group_size}
gradient_accumulation_frequency = {accumulation}
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
def climates(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("climates")
    synthesize(folder, Climate(height=48, width=64), {"train": 6, "validation": 3}, num_processes=1)
    return folder


@pytest.fixture
def configure(tmp_path):
    """Write a configuration folder."""

    def write(*, max_epochs=1, system="", division="closed", lines="", group_size=1, accumulation=1) -> Path:
        folder = tmp_path / f"config{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        head = HYPERPARAMETERS.format(division=division, lines=lines, group_size=group_size, accumulation=accumulation)
        (folder / "hyperparameters.toml").write_text(head)
        (folder / "system.toml").write_text(SYSTEM.format(max_epochs=max_epochs, lines=system))
        return folder

    return write


train_command = partial(commands.run, "-m", "deepcam.train")


def run_here(folder: Path, data: Path, output: Path, seed: int = 3) -> mllog.RunLog:
    """Train in this process."""
    torch.set_num_threads(1)
    train.main(["--config", str(folder), "--data", str(data), "--output", str(output), "--seed", str(seed)])
    return mllog.read(output)


def losses(log: mllog.RunLog) -> list[float]:
    """Values that move with every weight: losses of training and evaluation, epoch by epoch."""
    return [event.value for key in ("train_loss", "eval_loss") for event in log.all(key)]


@pytest.fixture(scope="session")
def alone(climates, tmp_path_factory) -> mllog.RunLog:
    """One process, one epoch: what the other ways to train must equal."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "hyperparameters.toml").write_text(
        HYPERPARAMETERS.format(division="closed", lines="", group_size=1, accumulation=1)
    )
    (folder / "system.toml").write_text(SYSTEM.format(max_epochs=1, lines=""))
    return run_here(folder, climates, folder / "result_0.txt")


def test_a_run_logs_everything_that_the_checker_wants(configure, climates, tmp_path):
    log = tmp_path / "result_0.txt"
    run = train_command("--config", configure(max_epochs=2), "--data", climates, "--output", log, "--seed", 3)
    assert run.returncode == 0, run.stderr
    read = mllog.read(log)
    assert (read.value("train_samples"), read.value("eval_samples"), read.value("seed")) == (6, 3, 3)
    assert read.value("data_is_synthetic") is True
    assert read.value("gradient_accumulation_frequency") == 1
    assert [event.metadata.epoch_num for event in read.all("eval_accuracy")] == [1, 2]
    assert all(0 < event.value < 1 for event in read.all("eval_accuracy"))
    errors = commands.errors(log, "mlperf_hpc_demo")
    assert all("samples is" in error or "aborted" in error or "target" in error for error in errors), errors


def test_the_same_seed_gives_the_same_losses_and_another_seed_does_not(configure, climates, tmp_path, alone):
    assert losses(run_here(configure(), climates, tmp_path / "again.txt")) == losses(alone)
    assert losses(run_here(configure(), climates, tmp_path / "other.txt", seed=4)) != losses(alone)


def test_two_ranks_that_share_batch_norm_give_the_result_of_one(configure, climates, tmp_path, alone):
    folder, log = configure(group_size=2), tmp_path / "together.txt"
    run = train_command("--config", folder, "--data", climates, "--output", log, "--seed", 3, num_ranks=2)
    assert run.returncode == 0, run.stderr
    together = mllog.read(log)
    assert together.value("number_of_ranks") == 2
    assert losses(together) == pytest.approx(losses(alone), rel=2e-3)
    assert together.value("eval_accuracy") == pytest.approx(alone.value("eval_accuracy"), abs=5e-3)


@pytest.mark.parametrize("system", ["cache = true", "num_workers = 1", "evaluation_batch_size = 1"])
def test_system_settings_leave_the_result_alone(configure, climates, tmp_path, alone, system):
    changed = run_here(configure(system=system), climates, tmp_path / "changed.txt")
    assert losses(changed) == pytest.approx(losses(alone), rel=1e-4)


def test_a_run_from_a_staged_copy_has_the_same_result(configure, climates, tmp_path, alone):
    staged = tmp_path / "node" / "data"
    log = run_here(configure(system=f'staging_folder = "{staged}"'), climates, tmp_path / "staged.txt")
    assert losses(log) == losses(alone)
    assert log.first("staging_start") is not None
    assert train.open_split(staged, "validation").statistics.count == 6  # a data set of its own, stats.h5 included


def test_bf16_changes_the_result_by_little(configure, climates, tmp_path, alone):
    bf16 = run_here(configure(system='precision = "bf16"'), climates, tmp_path / "bf16.txt")
    assert losses(bf16) != losses(alone)
    assert losses(bf16)[0] == pytest.approx(losses(alone)[0], rel=0.1)


@pytest.mark.parametrize("lines", ["", 'opt_name = "LAMB"'])
def test_no_step_waits_for_the_device(configure, climates, tmp_path, guarded_steps, lines):
    folder = configure(max_epochs=2, accumulation=2, lines=lines, system="evaluation_batch_size = 1")
    path = folder / "hyperparameters.toml"
    if lines:
        path.write_text(path.read_text().replace('opt_name = "Adam"\n', ""))
    run_here(folder, climates, tmp_path / "guarded.txt")
    assert guarded_steps == {"training": 2, "evaluation": 6}


def test_a_warm_up_before_the_clock_leaves_the_result_alone(configure, climates, tmp_path, alone):
    assert losses(run_here(configure(system="warm_up_steps = 1"), climates, tmp_path / "warm.txt")) == losses(alone)


def test_a_graph_of_a_step_that_changes_is_refused(configure):
    folder = configure(division="open", lines="gradient_skipping_threshold = 0.1", system="cuda_graph = true")
    settings = config.load(folder, hyperparameters_type=Hyperparameters, system_type=System)
    with pytest.raises(ConfigError, match="cuda_graph: cannot be used with gradient_skipping_threshold"):
        check_job(settings, num_ranks=1, device_type="cuda")


def test_gradient_skipping_stops_stages_in_open(configure, climates, tmp_path):
    folder = configure(max_epochs=2, division="open", lines="gradient_skipping_threshold = 1000.0")
    log = run_here(folder, climates, tmp_path / "skipped.txt")
    assert [event.value for event in log.all("gradient_skipping_stages")] == [20, 20]


def test_a_broken_sample_ends_the_run_with_its_name_in_one_line(configure, tmp_path):
    data = tmp_path / "data"
    synthesize(data, Climate(height=48, width=64), {"train": 4, "validation": 2}, num_processes=1)
    broken = sorted((data / "train").iterdir())[2]
    with h5py.File(broken, "a") as file:
        file["climate/labels_0"][4, 5] = 3
    log = tmp_path / "result_0.txt"
    run = train_command("--config", configure(system="num_workers = 1"), "--data", data, "--output", log)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {broken}: labels: found 3.0 at row 4, column 5")
    assert run.stderr.count("\n") == 1
    assert mllog.read(log).first("run_stop").metadata.status == "aborted"


class Pixelwise(nn.Module):
    """Logits from each pixel alone, without batch norm: its gradients add up sample by sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(16, 3, 1)

    def forward(self, fields_NCHW):
        return self.layer(fields_NCHW)


def fake_run(accumulation: int) -> SimpleNamespace:
    """As much of a Run as a training step needs."""
    settings = SimpleNamespace(
        hyperparameters=Hyperparameters(gradient_accumulation_frequency=accumulation), system=System()
    )
    return SimpleNamespace(world=World(), config=settings)


@pytest.mark.parametrize("accumulation", [1, 2, 3, 6])
def test_accumulated_gradients_are_those_of_the_whole_batch(accumulation, make_data):
    torch.manual_seed(0)
    model, normalise = Pixelwise(), Normalise(train.open_split(make_data(), "train").statistics)
    batch = (torch.rand(6, 16, 16, 16) * 100, torch.randint(0, 3, (6, 16, 16), dtype=torch.uint8))
    whole = weighted_cross_entropy(model(normalise(batch[0])), batch[1])
    whole.backward()
    expected = model.layer.weight.grad.clone()
    model.zero_grad()
    found = train.accumulate_gradients(fake_run(accumulation), model, normalise, Precision("fp32", "cpu"), batch)
    torch.testing.assert_close(model.layer.weight.grad, expected)
    torch.testing.assert_close(found, whole.detach())


def test_unequal_shares_are_refused():
    settings = config.load(CONFIGS / "closed", hyperparameters_type=Hyperparameters, system_type=System)
    check_job(settings, num_ranks=16, device_type="cpu")
    with pytest.raises(ConfigError, match="2048 samples cannot be shared equally by 3 ranks x 1 accumulated gradients"):
        check_job(settings, num_ranks=3, device_type="cpu")


def test_a_batch_norm_group_that_does_not_divide_the_ranks_is_refused(configure):
    settings = config.load(configure(group_size=4), hyperparameters_type=Hyperparameters, system_type=System)
    with pytest.raises(
        ConfigError, match="batchnorm_group_size: found 4, expected a divisor of the number of ranks, 2"
    ):
        check_job(settings, num_ranks=2, device_type="cpu")
