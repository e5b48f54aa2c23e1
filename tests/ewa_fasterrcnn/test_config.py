# SPDX-License-Identifier: Apache-2.0
"""The configurations that are delivered, and the named errors of others."""

from pathlib import Path

import pytest

import ewa_fasterrcnn
from ewa_fasterrcnn.config import Hyperparameters, System
from harness import config
from harness.config import ConfigError

CONFIGS = Path(ewa_fasterrcnn.__file__).parent / "configs"


def load(folder, **files):
    return config.load(folder, **files, hyperparameters_type=Hyperparameters, system_type=System)


@pytest.mark.parametrize(
    ("name", "rules", "division"),
    [
        ("closed", "hpc_ai500_2.0", "hardware"),
        ("open", "hpc_ai500_2.0", "free"),
        ("demo", "hpc_ai500_demo", "hardware"),
    ],
)
def test_delivered_configurations_keep_their_rules(name, rules, division):
    settings = load(CONFIGS / name)
    assert (settings.rules.name, settings.division) == (rules, division)
    assert set(settings.layers) == set(settings.rules.values["layers"])


def test_closed_is_the_reference():
    assert load(CONFIGS / "closed").hyperparameters == Hyperparameters()


@pytest.mark.parametrize("name", ["closed", "open"])
def test_the_learning_rate_scales_linearly(name):
    hyperparameters = load(CONFIGS / name).hyperparameters
    expected = 0.01 * hyperparameters.global_batch_size / 8
    assert hyperparameters.opt_base_learning_rate == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"global_batch_size": 0}, "global_batch_size: found 0, expected a number above 0"),
        ({"opt_momentum": 1.0}, "opt_momentum: found 1.0, expected at least 0 and below 1"),
        ({"gradient_clip_norm": 0.0}, "gradient_clip_norm: found 0.0"),
        ({"opt_learning_rate_warmup_epochs": -1.0}, "opt_learning_rate_warmup_epochs: found -1.0"),
        ({"opt_learning_rate_decay_boundary_epochs": (40.0, 30.0)}, "expected them rising"),
        ({"anchor_sizes": (8.0, 16.0)}, r"anchor_sizes: found \[8.0, 16.0\], expected 5 rising numbers"),
        ({"base_width": 12}, "base_width: found 12, expected a power of 2"),
    ],
)
def test_impossible_hyperparameters_are_named(fields, fault):
    with pytest.raises(ValueError, match=fault):
        Hyperparameters(**fields)


def test_a_cosine_has_no_boundaries():
    hyperparameters = Hyperparameters(opt_learning_rate_schedule="cosine")
    logged = config.logged_values(hyperparameters)
    assert "opt_learning_rate_decay_boundary_epochs" not in logged
    assert logged["norm"] == "group"


def test_hardware_level_keeps_network_and_norm(tmp_path):
    text = (CONFIGS / "closed" / "hyperparameters.toml").read_text()
    path = tmp_path / "hyperparameters.toml"
    path.write_text(text.replace("opt_momentum", 'norm = "batch"\nopt_momentum'))
    with pytest.raises(ConfigError, match="norm: the rules do not list it"):
        load(CONFIGS / "closed", hyperparameters_path=path)


@pytest.mark.parametrize("line", ["bucket_mebibytes = 0", "num_workers = -1"])
def test_a_system_setting_out_of_its_bounds_is_named(tmp_path, line):
    path = tmp_path / "system.toml"
    path.write_text('[submission]\norg = "A"\nplatform = "B"\nstatus = "research"\n[system]\n' + line)
    name, value = line.split(" = ")
    with pytest.raises(ConfigError, match=rf"\[system\] {name}: found {value}, expected"):
        load(CONFIGS / "closed", system_path=path)
