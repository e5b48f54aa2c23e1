# SPDX-License-Identifier: Apache-2.0
"""Every configuration that ships is accepted by its rules; what cannot be is refused by name."""

from pathlib import Path

import pytest

import deepcam
from deepcam.config import Hyperparameters, System
from harness import config
from harness.config import ConfigError

CONFIGS = Path(deepcam.__file__).parent / "configs"
CLOSED = sorted((CONFIGS / "closed").glob("hyperparameters*.toml"))


def load(folder: Path, hyperparameters: Path | None = None) -> config.Config:
    return config.load(folder, hyperparameters, hyperparameters_type=Hyperparameters, system_type=System)


def test_the_reference_ships_at_five_batches():
    batches = {load(CONFIGS / "closed", path).hyperparameters.global_batch_size for path in CLOSED}
    assert batches == {128, 256, 512, 1024, 2048}


@pytest.mark.parametrize("path", CLOSED, ids=lambda path: path.stem)
def test_the_reference_is_accepted_by_the_rules(path):
    settings = load(CONFIGS / "closed", path)
    assert settings.division == "closed"
    assert settings.rules.name == "mlperf_hpc_3.0"
    assert settings.hyperparameters.opt_name == "LAMB"
    assert settings.hyperparameters.opt_weight_decay == 0.01


@pytest.mark.parametrize(("name", "division"), [("open", "open"), ("demo", "closed")])
def test_the_other_configurations_are_accepted(name, division):
    settings = load(CONFIGS / name)
    assert settings.division == division


def test_the_defaults_are_the_reference_at_2048():
    assert load(CONFIGS / "closed").hyperparameters == Hyperparameters()


def test_only_what_belongs_to_the_optimizer_and_the_schedule_is_logged():
    logged = config.logged_values(Hyperparameters(opt_name="Adam", scheduler_type="cosine_annealing"))
    assert (
        not {"opt_max_grad_norm", "opt_grad_averaging", "opt_bias_correction", "scheduler_milestones"} & logged.keys()
    )
    assert logged["scheduler_t_max"] == 9000
    assert "opt_max_grad_norm" in config.logged_values(Hyperparameters())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("opt_eps = 1e-8", "opt_eps: found 1e-08, expected"),
        ("opt_learning_rate = 0.1", r"opt_learning_rate: unknown key; .*opt_lr"),
        ('opt_name = "SGD"', "opt_name: found 'SGD'"),
        ("opt_betas = [0.9]", r"opt_betas: found \[0.9\], expected two numbers"),
        ("scheduler_milestones = [5, 4]", r"scheduler_milestones: found \[5, 4\], expected them rising"),
        ("scheduler_lr_warmup_steps = -1", "scheduler_lr_warmup_steps: found -1"),
        ("gradient_skipping_threshold = 0.1", "gradient_skipping_threshold: the rules do not list it"),
    ],
)
def test_what_the_closed_division_forbids_is_named(tmp_path, line, message):
    path = tmp_path / "hyperparameters.toml"
    path.write_text(
        f'rules = "mlperf_hpc_3.0"\ndivision = "closed"\n[hyperparameters]\n{line}\n[batch]\nglobal_batch_size = 2048\n'
    )
    with pytest.raises(ConfigError, match=message):
        load(CONFIGS / "closed", path)
