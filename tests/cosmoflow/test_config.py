# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

import cosmoflow
from cosmoflow.config import Hyperparameters, System
from harness import config
from harness.config import ConfigError, logged_values

CONFIGS = Path(cosmoflow.__file__).parent / "configs"


def load(folder, **files):
    return config.load(folder, **files, hyperparameters_type=Hyperparameters, system_type=System)


def test_the_defaults_are_the_reference():
    assert logged_values(Hyperparameters()) == {
        "global_batch_size": 64,
        "opt_name": "sgd",
        "sgd_opt_momentum": 0.9,
        "opt_base_learning_rate": 0.001,
        "opt_learning_rate_warmup_epochs": 4,
        "opt_learning_rate_warmup_factor": 1.0,
        "opt_learning_rate_decay_boundary_epochs": [32, 64],
        "opt_learning_rate_decay_factor": [0.25, 0.125],
        "dropout": 0.5,
        "opt_weight_decay": 0.0,
    }


def test_the_closed_configuration_is_the_reference():
    settings = load(CONFIGS / "closed")
    assert settings.hyperparameters == Hyperparameters()
    assert (settings.rules.name, settings.division) == ("mlperf_hpc_3.0", "closed")


def test_the_open_configuration_goes_where_closed_may_not():
    hyperparameters = load(CONFIGS / "open").hyperparameters
    assert hyperparameters.augmentation == "cube_symmetries"
    assert hyperparameters.opt_learning_rate_decay_schedule == "linear"
    assert hyperparameters.dropout == 0


def test_the_demo_runs_under_its_own_rules_in_closed():
    settings = load(CONFIGS / "demo")
    assert (settings.rules.name, settings.division) == ("mlperf_hpc_demo", "closed")
    assert settings.hyperparameters.sgd_opt_momentum == 0.9


def written(folder: Path, hyperparameters: str, division: str = "closed") -> Path:
    head = f'rules = "mlperf_hpc_3.0"\ndivision = "{division}"\n[hyperparameters]\n'
    path = folder / "hyperparameters.toml"
    path.write_text(f"{head}{hyperparameters}\n[batch]\nglobal_batch_size = 64\n")
    return path


@pytest.mark.parametrize(
    "line",
    [
        'augmentation = "cube_symmetries"',
        'opt_learning_rate_decay_schedule = "linear"\nopt_learning_rate_decay_epochs = 9',
    ],
)
def test_what_only_open_allows_is_refused_in_closed(tmp_path, line):
    with pytest.raises(ConfigError, match=line.split(" ")[0]):
        load(CONFIGS / "closed", hyperparameters_path=written(tmp_path, line))
    assert load(CONFIGS / "closed", hyperparameters_path=written(tmp_path, line, division="open"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sgd_opt_momentum = 0.8", "sgd_opt_momentum"),
        ("dropuot = 0.1", "dropout"),
        ("dropout = 1.0", "below 1"),
        ('opt_name = "adam"', "'sgd'"),
        ("opt_base_learning_rate = 0", "above 0"),
        ("opt_learning_rate_warmup_factor = 0", "above 0"),
        ("opt_learning_rate_decay_boundary_epochs = [64, 32]", "rising"),
        ("opt_learning_rate_decay_boundary_epochs = [8]", "2 factors, expected one for each of 1"),
    ],
)
def test_a_wrong_hyperparameter_is_named(tmp_path, line, message):
    path = written(tmp_path, line)
    with pytest.raises(ConfigError, match=message) as raised:
        load(CONFIGS / "closed", hyperparameters_path=path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("factors", ["0.5", "[0.5, 0.25, 0.125, 0.0625]"])
def test_decay_factors_may_be_one_number_or_one_for_each_boundary(tmp_path, factors):
    lines = f"opt_learning_rate_decay_boundary_epochs = [19, 21, 22, 23]\nopt_learning_rate_decay_factor = {factors}"
    assert load(CONFIGS / "closed", hyperparameters_path=written(tmp_path, lines))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"opt_learning_rate_decay_schedule": "cosine"}, "opt_learning_rate_decay_epochs: missing"),
        ({"opt_learning_rate_decay_schedule": "polynomial", "opt_learning_rate_decay_epochs": 9}, "poly_power"),
        ({"opt_learning_rate_decay_poly_power": 2.0}, "poly_power"),
    ],
)
def test_an_open_schedule_must_be_complete(fields, message):
    with pytest.raises(ValueError, match=message):
        Hyperparameters(**fields)


@pytest.mark.parametrize(
    ("line", "message"),
    [('precision = "fp8"', "precision"), ("max_epochs = 0", "at least 1"), ("num_workers = -1", "at least 0")],
)
def test_a_wrong_system_setting_is_named(tmp_path, line, message):
    path = tmp_path / "system.toml"
    path.write_text('[submission]\norg = "A"\nplatform = "B"\nstatus = "research"\n[system]\n' + line)
    with pytest.raises(ConfigError, match=message):
        load(CONFIGS / "closed", system_path=path)
