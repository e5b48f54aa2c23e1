# SPDX-License-Identifier: Apache-2.0
"""The train command on a handful of gratings, in one process and in two."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD

import imagenet_resnet
from compliance import mllog
from harness.config import ConfigError
from harness.optim.optimizers import LAMB, LARS
from imagenet_resnet import train
from imagenet_resnet.config import Hyperparameters
from tests import commands

CONFIGS = Path(imagenet_resnet.__file__).parent / "configs"
PRECISIONS = ("fp32", "bf16")
NUM_EPOCHS = 8  # of the demo's rules

HYPERPARAMETERS = """
rules = "hpc_ai500_demo"
division = "free"
[hyperparameters]
opt_base_learning_rate = 0.05
opt_learning_rate_warmup_epochs = 1
resnet_blocks = [1, 1]
resnet_width = 4
image_size = 24
num_classes = 4
{lines}
[batch]
global_batch_size = 8
"""
SYSTEM = """
[submission]
org = "Test"
platform = "test"
status = "research"
[system]
{lines}
"""


Values = dict[str, torch.Tensor]


@pytest.fixture
def configure(tmp_path):
    """Writes a configuration folder with the given lines."""

    def write(hyperparameters: str = "", system: str = "") -> Path:
        folder = tmp_path / f"config_{len(list(tmp_path.glob('config_*')))}"
        folder.mkdir()
        (folder / "hyperparameters.toml").write_text(HYPERPARAMETERS.format(lines=hyperparameters))
        (folder / "system.toml").write_text(SYSTEM.format(lines=system))
        return folder

    return write


@pytest.fixture
def trained(configure, folders, tmp_path, monkeypatch):
    """Trains in this process with the given lines; the values of the network by name."""
    torch.set_num_threads(1)
    models, build = [], train.build_model
    monkeypatch.setattr(train, "build_model", lambda run: models.append(build(run)) or models[-1])

    def run(hyperparameters: str = "", system: str = "", seed: int = 3) -> Values:
        output = tmp_path / f"log_{len(models)}.txt"
        folder = configure(hyperparameters, system)
        train.main(["--config", str(folder), "--data", str(folders), "--output", str(output), "--seed", str(seed)])
        return {name: value.float() for name, value in models[-1].state_dict().items()}

    return run


def same(first: Values, second: Values) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def close(first: Values, second: Values) -> bool:
    return all(torch.allclose(first[name], second[name], rtol=1e-2, atol=2e-3) for name in first)


def evaluations(log: Path) -> dict[int, float]:
    return {event.metadata.epoch_num: event.value for event in mllog.read(log).all("eval_accuracy")}


def test_a_run_logs_what_the_suite_asks_for(configure, folders, tmp_path):
    output = tmp_path / "result_0.txt"
    arguments = ("--config", configure(), "--data", folders, "--output", output, "--seed", 3)
    run = commands.run("-m", "imagenet_resnet.train", *arguments)
    assert run.returncode == 0, run.stderr
    log = mllog.read(output)
    assert (log.value("train_samples"), log.value("eval_samples"), log.value("number_of_ranks")) == (22, 9, 1)
    assert (log.value("precision"), log.value("data_is_synthetic")) == ("fp32", True)
    assert (log.value("resnet_blocks"), log.value("resnet_width")) == ([1, 1], 4)
    hyperparameters = Hyperparameters(resnet_blocks=(1, 1), resnet_width=4, image_size=24, num_classes=4)
    assert log.value("flops_per_image") == train.flops_per_image(hyperparameters) > 0
    assert len(log.all("epoch_stop")) == NUM_EPOCHS
    speeds = log.all("images_per_second_per_rank")
    assert [event.metadata.epoch_num for event in speeds] == list(range(1, NUM_EPOCHS + 1))
    assert log.last("run_stop").metadata.status == "success"
    errors = commands.errors(output, "hpc_ai500_demo")
    assert all("samples is" in error for error in errors), errors


def test_a_stopped_run_resumes_to_the_same_weights(configure, folders, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    folder, models, build, speed = (
        configure(system="checkpoint_every_epochs = 2"),
        [],
        train.build_model,
        iter(range(9)),
    )
    monkeypatch.setattr(train, "build_model", lambda run: models.append(build(run)) or models[-1])
    whole, parts = tmp_path / "whole.txt", tmp_path / "parts.txt"
    arguments = ["--config", str(folder), "--data", str(folders), "--seed", "3", "--output"]
    train.main([*arguments, str(whole)])
    with monkeypatch.context() as patch:
        patch.setattr(train, "images_per_second", lambda *_: 1 / (3 - next(speed)))  # stops in the fourth epoch
        with pytest.raises(ZeroDivisionError):
            train.main([*arguments, str(parts)])
    train.main([*arguments, str(parts), "--resume"])
    assert mllog.read(parts).first("restart").metadata.epoch_num == 2
    assert evaluations(parts) == evaluations(whole)
    assert same(models[2].state_dict(), models[0].state_dict())


def test_evaluations_keep_the_cadence_and_close_the_run(configure, folders, tmp_path):
    folder = configure(system="epochs_between_evaluations = 3")
    output = tmp_path / "result_0.txt"
    train.main(["--config", str(folder), "--data", str(folders), "--output", str(output), "--seed", "3"])
    assert list(evaluations(output)) == [3, 6, 8]


def test_the_seed_decides_the_result(trained):
    first = trained()
    assert same(first, trained())
    assert not same(first, trained(seed=4))


@pytest.mark.parametrize("line", ["num_workers = 2", "channels_last = true", "evaluation_batch_size = 2"])
def test_system_settings_leave_the_weights_alone(trained, line):
    assert close(trained(), trained(system=line))


def test_bf16_changes_the_weights_by_little(trained):
    fp32, bf16 = (torch.cat([v.flatten() for v in trained(system=f'precision = "{p}"').values()]) for p in PRECISIONS)
    assert 0 < (fp32 - bf16).norm() < 0.2 * fp32.norm()


@pytest.mark.slow
def test_compiling_leaves_the_weights_alone(trained):
    plain, compiled = trained(), trained(system="compile = true")
    assert close(plain, compiled)


@pytest.mark.parametrize(
    "lines",
    [
        'opt_name = "lars"',
        'opt_name = "lamb"',
        "opt_weight_decay_on_batch_norm = false\nopt_weight_decay = 0.1",
        "label_smoothing = 0.0",
        'opt_learning_rate_schedule = "linear"',
        "zero_init_last_gamma = true",
    ],
)
def test_hyperparameters_change_the_weights(trained, lines):
    base = "opt_weight_decay = 0.1" if "weight_decay" in lines else ""
    changed = trained(lines)
    assert all(torch.isfinite(value).all() for value in changed.values())
    assert not same(changed, trained(base))


@pytest.mark.parametrize("name", ["sgd", "lars", "lamb"])
def test_no_step_waits_for_the_device(trained, guarded_steps, name):
    trained(f'opt_name = "{name}"', system="channels_last = true")
    assert guarded_steps["training"] > 2
    assert guarded_steps["evaluation"] > 1


def test_a_warm_up_before_the_clock_leaves_the_weights_alone(trained):
    assert same(trained(), trained(system="warm_up_steps = 2"))


def test_two_ranks_compute_what_one_does_where_their_batch_norms_are_joint(trained, configure, folders, tmp_path):
    """Statistics of its own batch are the one thing in which a rank differs: joined, the weights agree."""
    program = Path(__file__).with_name("joint_batch_norm.py")
    arguments = ("--config", configure(), "--data", folders, "--output", tmp_path / "together.txt", "--seed", 3)
    run = commands.run(program, tmp_path / "together.pt", *arguments, num_ranks=2)
    assert run.returncode == 0, run.stderr
    assert mllog.read(tmp_path / "together.txt").value("number_of_ranks") == 2
    assert close(trained(), torch.load(tmp_path / "together.pt"))
    assert evaluations(tmp_path / "together.txt") == pytest.approx(evaluations(tmp_path / "log_0.txt"), abs=0.12)


def test_two_ranks_train_with_compressed_gradients(configure, folders, tmp_path):
    output = tmp_path / "result_0.txt"
    folder = configure(system='gradient_compression = "bf16"')
    arguments = ("--config", folder, "--data", folders, "--output", output)
    run = commands.run("-m", "imagenet_resnet.train", *arguments, num_ranks=2)
    assert run.returncode == 0, run.stderr
    log = mllog.read(output)
    assert (log.value("number_of_ranks"), log.value("gradient_compression")) == (2, "bf16")
    assert log.last("run_stop").metadata.status == "success"


def test_an_impossible_precision_is_refused_before_any_log(configure, folders, tmp_path):
    folder, output = configure(system='precision = "fp16"'), tmp_path / "log.txt"
    with pytest.raises(ConfigError, match="found 'fp16' on a CPU"):
        train.main(["--config", str(folder), "--data", str(folders), "--output", str(output)])
    assert not output.exists()


def test_the_compute_threads_are_as_many_as_asked_for(trained):
    torch.set_num_threads(2)
    trained(system="num_compute_threads = 1")
    assert torch.get_num_threads() == 1


# --- learning rate and optimizer


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [0.0, 0.5, 1.0, 0.853553, 0.5, 0.146447, 0.0]),
        ({"opt_learning_rate_schedule": "linear"}, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]),
        ({"opt_learning_rate_schedule": "quadratic"}, [0.0, 0.5, 1.0, 0.5625, 0.25, 0.0625, 0.0]),
        (
            {
                "opt_learning_rate_schedule": "step",
                "opt_learning_rate_decay_boundary_epochs": (3, 4.5),
                "opt_learning_rate_decay_factor": 0.1,
            },
            [0.0, 0.5, 1.0, 1.0, 0.1, 0.01, 0.01],
        ),
    ],
)
def test_schedules_after_two_epochs_of_warm_up(fields, expected):
    hyperparameters = Hyperparameters(opt_base_learning_rate=1.0, opt_learning_rate_warmup_epochs=2, **fields)
    rates = [train.learning_rate(epoch, 6, hyperparameters) for epoch in range(7)]
    assert rates == pytest.approx(expected, abs=1e-6)


def optimizer_of(**fields):
    hyperparameters = Hyperparameters(resnet_blocks=(1,), resnet_width=4, num_classes=4, **fields)
    model = train.new_model(hyperparameters)
    return model, train.build_optimizer(model, hyperparameters)


def test_weight_decay_is_on_all_parameters_by_default():
    model, optimizer = optimizer_of()
    (group,) = optimizer.param_groups
    assert type(optimizer) is SGD
    assert (len(group["params"]), group["weight_decay"]) == (len(list(model.parameters())), 1 / 32768)
    assert group["momentum"] == 0.875


def test_the_example_of_section_6_4_leaves_batch_norm_out():
    model, optimizer = optimizer_of(opt_weight_decay_on_batch_norm=False)
    decayed, free = optimizer.param_groups
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {id(p) for p in free["params"]} == {id(p) for norm in norms for p in norm.parameters()}
    assert (decayed["weight_decay"], free["weight_decay"]) == (1 / 32768, 0.0)


def test_layerwise_policies_keep_momentum_and_weight_decay():
    lars, lamb = (optimizer_of(opt_name=name)[1] for name in ("lars", "lamb"))
    assert isinstance(lars, LARS)
    assert isinstance(lamb, LAMB)
    assert (lars.defaults["momentum"], lamb.defaults["betas"][0]) == (0.875, 0.875)
    assert lars.param_groups[0]["weight_decay"] == lamb.param_groups[0]["weight_decay"] == 1 / 32768
