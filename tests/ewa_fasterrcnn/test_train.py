# SPDX-License-Identifier: Apache-2.0
"""The train command on a handful of storms, in one process and in two."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import ewa_fasterrcnn
from compliance import mllog
from ewa_fasterrcnn import train
from ewa_fasterrcnn.channel_statistics import Normalise
from ewa_fasterrcnn.config import Hyperparameters, System, check_job
from ewa_fasterrcnn.data import open_split
from ewa_fasterrcnn.model.backbone import ResNet50
from ewa_fasterrcnn.model.faster_rcnn import FasterRCNN
from ewa_fasterrcnn.model.random_numbers import epoch_key
from harness import config
from harness.config import ConfigError
from harness.optim.optimizers import LAMB, LARS
from harness.precision import Precision
from harness.run import Run
from tests import commands
from tests.host_synchronization import no_host_synchronization

CONFIGS = Path(ewa_fasterrcnn.__file__).parent / "configs"


def run_here(folder: Path, data: Path, output: Path, *options: str, seed: int = 3) -> mllog.RunLog:
    """Train in this process; its log."""
    torch.set_num_threads(1)
    arguments = ["--config", folder, "--data", data, "--output", output, "--seed", seed, *options]
    train.main(list(map(str, arguments)))
    return mllog.read(output)


def losses(log: mllog.RunLog) -> list[float]:
    return [event.value for event in log.all("train_loss")]


@pytest.fixture(scope="module")
def plain(configure_once, storms, tmp_path_factory) -> mllog.RunLog:
    """A plain run, which the others are compared with."""
    return run_here(configure_once(), storms, tmp_path_factory.mktemp("plain") / "result_0.txt")


def test_a_run_logs_what_the_score_needs(plain):
    assert (plain.value("train_samples"), plain.value("eval_samples"), plain.value("seed")) == (6, 3, 3)
    assert plain.value("data_is_synthetic") is True
    assert plain.value("precision") == "fp32"
    assert plain.value("flops_per_image") > 1e6
    assert plain.value("operator_check")["num_operators"] > 20
    assert plain.value("base_width") == 8
    assert [event.metadata.epoch_num for event in plain.all("images_per_second_per_rank")] == [1, 2, 3]
    assert [event.value for event in plain.all("all_reduces_per_step")] == [0, 0, 0]
    assert [event.metadata.epoch_num for event in plain.all("eval_accuracy")] == [3]
    assert 0 <= plain.value("eval_accuracy") <= 1
    assert plain.first("run_stop").metadata.status == "success"
    assert plain.first("flops_per_image").time_ms <= plain.first("run_start").time_ms


def test_the_checker_finds_no_fault_but_the_size_of_the_data(plain):
    errors = commands.errors(plain.path, "hpc_ai500_demo")
    assert len(errors) == 2, errors
    assert all("_samples" in error for error in errors), errors


def test_the_same_seed_gives_the_same_losses_and_another_seed_does_not(plain, configure, storms, tmp_path):
    assert losses(run_here(configure(), storms, tmp_path / "same.txt")) == losses(plain)
    assert losses(run_here(configure(), storms, tmp_path / "other.txt", seed=4)) != losses(plain)


def test_two_ranks_give_the_losses_of_one(plain, configure, storms, tmp_path):
    path = tmp_path / "together.txt"
    arguments = ("--config", configure(), "--data", storms, "--output", path, "--seed", 3)
    run = commands.run("-m", "ewa_fasterrcnn.train", *arguments, num_ranks=2)
    assert run.returncode == 0, run.stderr
    together = mllog.read(path)
    assert together.value("number_of_ranks") == 2
    assert losses(together) == pytest.approx(losses(plain), rel=1e-5)
    assert together.value("eval_accuracy") == pytest.approx(plain.value("eval_accuracy"), abs=0.01)
    gradients = together.value("num_parameters") * 4
    assert [event.value for event in together.all("all_reduce_bytes_per_step")] == [gradients] * 3
    assert together.value("all_reduces_per_step") >= 1


def test_system_settings_leave_the_losses_alone(plain, configure, storms, tmp_path):
    system = "channels_last = true\nnum_workers = 1\nepochs_between_evaluations = 1"
    changed = run_here(configure(system=system), storms, tmp_path / "changed.txt")
    assert losses(changed) == pytest.approx(losses(plain), rel=1e-3)
    assert len(changed.all("eval_accuracy")) == 3
    assert changed.all("eval_accuracy")[-1].value == pytest.approx(plain.value("eval_accuracy"), abs=0.01)


def test_a_stopped_run_resumes_to_the_same_losses(plain, configure, storms, tmp_path, monkeypatch):
    folder, path = configure(system="checkpoint_every_epochs = 1"), tmp_path / "parts.txt"
    log_epoch = train.log_epoch
    monkeypatch.setattr(train, "log_epoch", stop_in(2, log_epoch))
    with pytest.raises(KeyboardInterrupt):
        run_here(folder, storms, path)
    monkeypatch.setattr(train, "log_epoch", log_epoch)
    resumed = run_here(folder, storms, path, "--resume")
    assert losses(resumed) == losses(plain)
    assert resumed.value("eval_accuracy") == plain.value("eval_accuracy")
    assert len(resumed.all("restart")) == 1


def stop_in(epoch_to_stop: int, log_epoch):
    """log_epoch, but for an interrupt in one epoch."""

    def interrupted(run, epoch, *arguments):
        if epoch == epoch_to_stop:
            raise KeyboardInterrupt
        log_epoch(run, epoch, *arguments)

    return interrupted


def test_bf16_changes_the_losses_by_little(plain, configure, storms, tmp_path):
    log = run_here(configure(system='precision = "bf16"'), storms, tmp_path / "bf16.txt")
    assert log.value("precision") == "bf16"
    assert losses(log) != losses(plain)
    assert losses(log) == pytest.approx(losses(plain), rel=0.1)


def test_a_frozen_backbone_trains_from_pretrained_weights(configure, storms, tmp_path):
    weights = tmp_path / "resnet.pt"
    torch.save(ResNet50(num_channels=3, base_width=8, norm="batch").state_dict(), weights)
    folder = configure(hyperparameters='norm = "frozen"', system=f'pretrained_weights = "{weights}"')
    log = run_here(folder, storms, tmp_path / "frozen.txt")
    assert len(log.value("pretrained_weights_sha256")) == 64
    assert log.first("run_stop").metadata.status == "success"


def settings(**system) -> config.Config:
    loaded = config.load(CONFIGS / "closed", hyperparameters_type=Hyperparameters, system_type=System)
    return replace(loaded, system=replace(loaded.system, **system))


def test_an_unequal_share_is_refused():
    check_job(settings(), num_ranks=8, device_type="cpu")
    with pytest.raises(ConfigError, match="8 samples cannot be shared equally by 3 ranks"):
        check_job(settings(), num_ranks=3, device_type="cpu")


def test_frozen_norms_need_weights_and_others_take_none(tmp_path):
    with pytest.raises(ConfigError, match=r"pretrained_weights: found .* with norm 'group'"):
        check_job(settings(pretrained_weights=tmp_path / "weights.pt"), num_ranks=1, device_type="cpu")
    frozen = replace(settings(), hyperparameters=Hyperparameters(norm="frozen"))
    with pytest.raises(ConfigError, match="pretrained_weights: found None with norm 'frozen'"):
        check_job(frozen, num_ranks=1, device_type="cpu")


def test_tf32_is_for_accelerators():
    with pytest.raises(ConfigError, match="precision: found 'tf32' on a CPU"):
        check_job(settings(precision="tf32"), num_ranks=1, device_type="cpu")


@pytest.fixture
def started(configure, storms, tmp_path):
    """Everything that a training step needs, after one step: (step, inputs)."""
    loaded = config.load(configure(), hyperparameters_type=Hyperparameters, system_type=System)
    train_set = open_split(storms, "train")
    with Run(loaded, tmp_path / "result_0.txt", seed=1) as run:
        model, precision = train.build_model(run), Precision.start("fp32", run.world.device)
        optimizer = train.build_optimizer(model, loaded.hyperparameters)
        exchange, normalise = train.build_exchange(run, model), Normalise(train_set.statistics)
        step = partial(train.training_step, run, exchange, normalise, optimizer, precision, epoch_key(1, 1))
        batches = iter(train.build_loader(run, train_set, 2, shuffle=True))
        step(*next(batches))
        yield step, next(batches)


def test_no_operation_of_a_step_waits_for_the_device(started):
    step, batch = started
    with no_host_synchronization():
        losses_NL = step(*batch)
    assert losses_NL.isfinite().all()


def test_a_warm_up_and_a_trace_leave_the_losses_alone(plain, configure, storms, tmp_path):
    warm = run_here(configure(system='warm_up_steps = 2\nprofile = "2:1"'), storms, tmp_path / "warm.txt")
    assert losses(warm) == losses(plain)
    assert warm.value("eval_accuracy") == plain.value("eval_accuracy")
    names = {event.get("name") for event in json.loads((tmp_path / "warm.trace.json").read_text())["traceEvents"]}
    assert {"data", "forward", "backward", "optimizer"} <= names


# --- learning rate and optimizer, worked by hand


def rates(*times: float, num_epochs: int = 50, **fields) -> list[float]:
    hyperparameters = Hyperparameters(opt_base_learning_rate=1.0, **fields)
    return [train.learning_rate(time, num_epochs, hyperparameters) for time in times]


def test_reference_learning_rates_rise_and_step_down():
    assert rates(0, 0.25, 1, 33, 33.5, 44.5) == pytest.approx([0, 0.25, 1, 1, 0.1, 0.01])


def test_a_cosine_falls_to_zero_at_the_end():
    found = rates(0.5, 1, 25.5, 50, opt_learning_rate_schedule="cosine")
    assert found == pytest.approx([0.5, 1, 0.5, 0])


def test_weight_decay_spares_norms_only_if_told():
    network = FasterRCNN(base_width=8, pyramid_channels=16, head_features=16)
    (everything,) = train.build_optimizer(network, Hyperparameters()).param_groups
    assert (everything["weight_decay"], everything["momentum"]) == (1e-4, 0.9)
    assert len(everything["params"]) == len(list(network.parameters()))
    groups = train.build_optimizer(network, Hyperparameters(opt_weight_decay_on_batch_norm=False)).param_groups
    assert [group["weight_decay"] for group in groups] == [1e-4, 0.0]
    assert len(groups[1]["params"]) == 2 * 53


@pytest.mark.parametrize(("name", "kind"), [("lars", LARS), ("lamb", LAMB)])
def test_layerwise_policies_are_there_too(name, kind):
    built = train.build_optimizer(torch.nn.Linear(2, 1), Hyperparameters(opt_name=name))
    assert isinstance(built, kind)
    assert built.param_groups[0]["weight_decay"] == 1e-4


def test_gradients_are_scaled_down_together():
    network = torch.nn.Linear(2, 1, bias=False)
    network.weight.grad = torch.tensor([[30.0, 40.0]])
    train.clip_gradients(network, None)
    assert network.weight.grad.tolist() == [[30, 40]]
    train.clip_gradients(network, 10.0)
    assert network.weight.grad[0].tolist() == pytest.approx([6, 8], rel=1e-4)
