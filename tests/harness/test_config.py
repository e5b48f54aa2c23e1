# SPDX-License-Identifier: Apache-2.0
"""Two TOML files become one Config, or one error that says what to fix."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from compliance.files.errors import UserError
from compliance.rulesets.ruleset import RuleSetError
from harness import config
from harness.config import Config


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    global_batch_size: int
    opt_name: str = "sgd"
    opt_base_learning_rate: float = 0.1
    opt_learning_rate_decay_boundary_epochs: tuple[int, ...] = (32, 64)
    dropout: float | None = None
    augmentation: bool = False


@dataclass(frozen=True, kw_only=True)
class System:
    num_workers: Annotated[int, Meta(ge=0)] = 4
    precision: Literal["fp32", "bf16"] = "fp32"
    data: Path | None = None
    parts: tuple[int, ...] = ()


HEAD = 'rules = "mlperf_hpc_3.0"\ndivision = "closed"\n'
HYPERPARAMETERS = HEAD + "[hyperparameters]\nopt_base_learning_rate = 1\n[batch]\nglobal_batch_size = 64\n"
SYSTEM = '[submission]\norg = "Lab"\nplatform = "cluster"\nstatus = "onprem"\n[system]\ndata = "/data"\n'


def load(folder: Path, hyperparameters: str = HYPERPARAMETERS, system: str = SYSTEM, **options) -> Config:
    (folder / "hyperparameters.toml").write_text(hyperparameters)
    (folder / "system.toml").write_text(system)
    types = {"hyperparameters_type": Hyperparameters, "system_type": System}
    return config.load(folder, **{"benchmark": "cosmoflow", **types, **options})


def test_both_tables_fill_the_hyperparameters(tmp_path):
    settings = load(tmp_path)
    assert settings.hyperparameters == Hyperparameters(global_batch_size=64, opt_base_learning_rate=1.0)
    assert isinstance(settings.hyperparameters.opt_base_learning_rate, float)
    assert settings.system == System(data=Path("/data"))
    assert (settings.division, settings.rules.name) == ("closed", "mlperf_hpc_3.0")
    assert settings.benchmark.target.threshold == 0.124
    assert settings.hyperparameters_path == tmp_path / "hyperparameters.toml"


def test_another_file_takes_the_place_of_the_folders_own(tmp_path):
    borrowed = tmp_path / "borrowed.toml"
    borrowed.write_text(HYPERPARAMETERS.replace("64", "128"))
    settings = load(tmp_path, hyperparameters_path=borrowed)
    assert settings.hyperparameters.global_batch_size == 128
    assert (settings.hyperparameters_path, settings.system_path) == (borrowed, tmp_path / "system.toml")


def test_benchmark_is_the_package_of_the_hyperparameters(tmp_path, monkeypatch):
    monkeypatch.setattr(Hyperparameters, "__module__", "deepcam.config")
    text = HYPERPARAMETERS.replace("[hyperparameters]\nopt_base_learning_rate = 1\n", "").replace("closed", "open")
    assert load(tmp_path, text, benchmark=None).benchmark.name == "deepcam"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("opt_base_learning_rate", "opt_base_learning_rat", "unknown key; did you mean 'opt_base_learning_rate'"),
        ("[batch]", "[bacth]", "bacth: unknown key; did you mean 'batch'"),
        ("= 64", '= "64"', "global_batch_size: found '64', expected an integer"),
        ("= 64", "= true", "global_batch_size: found True, expected an integer"),
        ("global_batch_size = 64", "", r"\[batch\] global_batch_size: missing, and it has no default"),
        ("[batch]\nglobal_batch_size = 64", "", r"\[batch\] global_batch_size: missing, and it has no default"),
        ("global_batch_size = 64", "global_batch_size = 64\nopt_base_learning_rate = 2", "expected in one of them"),
        ("closed", "clsoed", "division: found 'clsoed'"),
        ('rules = "mlperf_hpc_3.0"\n', "", "rules: no rule set"),
        ("mlperf_hpc_3.0", "mlperf_hpc_3", "rules: no rule set 'mlperf_hpc_3'; did you mean 'mlperf_hpc_3.0'"),
        ("[batch]", "[batch", "not TOML"),
        ("= 1", "= -1", r"opt_base_learning_rate: found -1, expected a number above 0 \(mlperf_hpc_3.0.toml"),
        ("= 64", "= 0", "global_batch_size: found 0, expected an integer above 0"),
        ("= 1", "= nan", "opt_base_learning_rate: found nan, expected a number above 0"),
        ("= 1", '= 1\nopt_name = "lars"', "opt_name: found 'lars', expected one of 'sgd', 'SGD'"),
        ("= 1", "= 1\ndropout = 1.0", "dropout: found 1.0, expected a number at least 0 below 1"),
        (
            "= 1",
            "= 1\naugmentation = true",
            r"augmentation: the rules do not list it \(mlperf_hpc_3.0.toml",
        ),
    ],
)
def test_error_names_the_file_and_how_to_fix_it(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, HYPERPARAMETERS.replace(old, new, 1))
    assert str(tmp_path / "hyperparameters.toml") in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("data =", "date =", r"\[system\] date: unknown key; did you mean 'data'"),
        ('data = "/data"', 'precision = "fp8"', "precision: found 'fp8', expected one of 'fp32', 'bf16'"),
        ('data = "/data"', "num_workers = -1", "num_workers: found -1, expected an integer at least 0"),
        ('data = "/data"', "parts = 3", "parts: found 3, expected a list; each item: an integer"),
        ('data = "/data"', 'parts = [1, "x"]', "parts: found .*, expected a list; each item: an integer"),
        ('data = "/data"', "data = 3", "data: found 3, expected a path in quotes"),
        ("onprem", "on prem", r"\[submission\] status: found 'on prem', expected one of 'cloud', 'onprem'"),
        ('org = "Lab"\n', "", r"\[submission\] org: missing"),
        ("Lab", " ", r"\[submission\] org: found ' ', expected a text"),
    ],
)
def test_error_in_the_system_file(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, system=SYSTEM.replace(old, new, 1))
    assert str(tmp_path / "system.toml") in str(caught.value)


def test_defaults_are_held_to_the_rules_too(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Lars(Hyperparameters):
        opt_name: str = "lars"

    with pytest.raises(UserError, match="opt_name: found 'lars'"):
        load(tmp_path, hyperparameters_type=Lars)


def test_borrowed_file_is_read_as_any_other(tmp_path):
    text = HYPERPARAMETERS + '[borrowed]\nlender = "acme"\npath = "hyperparameters.toml"\nsha256 = "00"\n'
    assert load(tmp_path, text).hyperparameters == load(tmp_path).hyperparameters


def test_open_division_allows_what_closed_does_not(tmp_path):
    text = HYPERPARAMETERS.replace("closed", "open").replace("= 1", '= 1\nopt_name = "lars"\naugmentation = true')
    settings = load(tmp_path, text)
    assert settings.hyperparameters.augmentation
    assert settings.hyperparameters.opt_name == "lars"


def test_every_fault_is_named_at_once(tmp_path):
    text = HYPERPARAMETERS.replace("= 1", "= -1\ndropout = 2.0")
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 2


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.toml: cannot be read: No such file"):
        load(tmp_path, system_path=tmp_path / "nowhere.toml")


def test_benchmark_that_the_rules_do_not_have(tmp_path):
    with pytest.raises(RuleSetError, match="did you mean 'cosmoflow'"):
        load(tmp_path, benchmark="cosmoflw")


def test_logged_values_are_lists_and_leave_out_none():
    values = config.logged_values(Hyperparameters(global_batch_size=8))
    assert values["opt_learning_rate_decay_boundary_epochs"] == [32, 64]
    assert "dropout" not in values
    assert values["augmentation"] is False


def test_a_global_batch_that_cannot_be_shared_equally_is_refused(tmp_path):
    settings = load(tmp_path)
    config.check_shares(settings, 16)
    for takers, named in ((None, "48 ranks"), ("48 grids of 4 ranks", "48 grids of 4 ranks")):
        expected = f"global_batch_size: 64 samples cannot be shared equally by {named}; use a multiple of 48"
        with pytest.raises(config.ConfigError, match=f"{tmp_path}/hyperparameters.toml: {expected}"):
            config.check_shares(settings, 48, takers)
