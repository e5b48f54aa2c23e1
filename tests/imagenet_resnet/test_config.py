# SPDX-License-Identifier: Apache-2.0
"""The three configurations, their levels, and what each level refuses."""

from pathlib import Path

import pytest

import imagenet_resnet
from compliance.files.errors import UserError
from harness import config
from harness.config import Config
from imagenet_resnet.config import Hyperparameters, System

CONFIGS = Path(imagenet_resnet.__file__).parent / "configs"


def load(name: str, **files) -> Config:
    return config.load(CONFIGS / name, hyperparameters_type=Hyperparameters, system_type=System, **files)


@pytest.mark.parametrize(
    ("name", "division", "rules"),
    [
        ("closed", "hardware", "hpc_ai500_2.0"),
        ("open", "free", "hpc_ai500_2.0"),
        ("demo", "hardware", "hpc_ai500_demo"),
    ],
)
def test_configurations_stand_under_their_rules(name, division, rules):
    settings = load(name)
    assert (settings.division, settings.rules.name) == (division, rules)
    assert settings.layers.keys() == settings.rules.values["layers"].keys()


def test_closed_is_the_default_recipe_scaled_to_its_batch():
    closed = load("closed").hyperparameters
    scale = closed.global_batch_size / 256
    assert closed == Hyperparameters(global_batch_size=2048, opt_base_learning_rate=0.256 * scale)


def test_open_differs_from_the_recipe_by_section_6_4_and_the_batch():
    changed = load("open").hyperparameters
    assert changed == Hyperparameters(
        global_batch_size=8192, opt_base_learning_rate=0.256 * 32, opt_weight_decay_on_batch_norm=False
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "opt_weight_decay_on_batch_norm = true",
            "opt_weight_decay_on_batch_norm = false",
            "found False, expected True",
        ),
        ("opt_momentum = 0.875", "opt_momentum = 0.9", "opt_momentum: found 0.9"),
        ("label_smoothing = 0.1", "resnet_width = 32", "the rules do not list it"),
        ('division = "hardware"', 'division = "closed"', "expected one of hardware, system, free"),
        ('opt_name = "sgd"', 'opt_name = "adam"', "adam"),
        ('"cosine"', '"step"', "expected both with the schedule 'step'"),
        ("opt_momentum = 0.875", "opt_momentun = 0.875", "did you mean 'opt_momentum'"),
    ],
)
def test_hardware_level_refuses_what_the_rules_fix(tmp_path, old, new, message):
    text = (CONFIGS / "closed" / "hyperparameters.toml").read_text()
    assert old in text
    path = tmp_path / "hyperparameters.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=r"hyperparameters\.toml") as caught:
        load("closed", hyperparameters_path=path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ai_framework", "ai_framewrok", r"\[layers\] ai_framewrok: no layer.*did you mean 'ai_framework'"),
        ("num_workers = 8 ", "num_workers = -1 ", "num_workers: found -1"),
        ("epochs_between_evaluations = 4", "epochs_between_evaluations = 0", "epochs_between_evaluations: found 0"),
    ],
)
def test_system_faults_are_named(tmp_path, old, new, message):
    path = tmp_path / "system.toml"
    path.write_text((CONFIGS / "closed" / "system.toml").read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        load("closed", system_path=path)


@pytest.mark.parametrize(
    "fields", [{"num_classes": 0}, {"label_smoothing": 1.0}, {"resnet_blocks": ()}, {"opt_weight_decay": -1.0}]
)
def test_impossible_values_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Hyperparameters(**fields)
