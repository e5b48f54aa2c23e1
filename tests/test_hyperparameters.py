# SPDX-License-Identifier: Apache-2.0
"""`compliance config` and the train commands give the same verdict on every hyperparameters.toml."""

import json
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from compliance.files.errors import UserError
from compliance.rulesets import hyperparameters_file
from harness import config

ROOT = Path(__file__).parent.parent
BENCHMARKS = ("cosmoflow", "deepcam", "imagenet_resnet", "ewa_fasterrcnn")
VALUES = (
    *(0, 1, 2, -1, 0.5, 1.0, 4.5, 64.0, 1e9, "x", "sgd", "LAMB", "step", True, False),
    *([], [1], [2, 1], [1, 2], [0.5, 0.25], [0.5, 1.5], [0.0, 0.0], [1.0, 1.0]),
)


def refused_by_config(path: Path, benchmark: str) -> bool:
    try:
        return bool(list(hyperparameters_file.faults(hyperparameters_file.read(path, benchmark))))
    except UserError:
        return True


def refused_by_train(path: Path, benchmark: str) -> bool:
    types = import_module(f"{benchmark}.config")
    try:
        config.load(
            ROOT / benchmark / "configs" / "closed",
            path,
            hyperparameters_type=types.Hyperparameters,
            system_type=types.System,
        )
    except UserError:
        return True
    return False


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_both_give_the_same_verdict_on_every_value_of_every_key(benchmark, tmp_path):
    file = tomllib.loads((ROOT / benchmark / "configs" / "closed" / "hyperparameters.toml").read_text())
    keys, path = import_module(f"{benchmark}.config").Hyperparameters.__dataclass_fields__, tmp_path / "file.toml"
    verdicts = {}
    for key in keys:
        for value in VALUES:
            values = {**file["hyperparameters"], **file["batch"], key: value}
            lines = [f"{name} = {json.dumps(given)}" for name, given in values.items()]
            head = [f'rules = "{file["rules"]}"', f'division = "{file["division"]}"', "[hyperparameters]"]
            path.write_text("\n".join(head + lines))
            verdicts[key, str(value)] = refused_by_config(path, benchmark), refused_by_train(path, benchmark)
    assert {case: verdict for case, verdict in verdicts.items() if verdict[0] != verdict[1]} == {}
    assert {True, False} == {verdict for verdict, _ in verdicts.values()}


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("boundaries_falling", True),
        ("decay_factor_not_in_0_1", True),
        ("too_few_factors", True),
        ("warmup_factor_zero", True),
        ("warmup_half_epoch", False),
    ],
)
def test_the_shared_cases(shared_cases, name, refused):
    path = shared_cases / "toml" / f"{name}.toml"
    assert refused_by_config(path, "cosmoflow") is refused_by_train(path, "cosmoflow") is refused
