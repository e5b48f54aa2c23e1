# SPDX-License-Identifier: Apache-2.0
"""hyperparameters.toml held to its rules, without the training code."""

from pathlib import Path

import pytest

from compliance.__main__ import main
from compliance.files.errors import UserError
from compliance.rulesets import hyperparameters_file
from compliance.rulesets.ruleset import RuleSetError

ROOT = Path(__file__).resolve().parents[3]
VALID = """\
rules = "mlperf_hpc_2.0"
division = "closed"
[hyperparameters]
opt_name = "sgd"
opt_base_learning_rate = 0.001
opt_learning_rate_warmup_epochs = 4
[batch]
global_batch_size = 64
"""


@pytest.fixture
def write(tmp_path):
    def write(old: str = "", new: str = "", folder: str = "cosmoflow") -> Path:
        path = tmp_path / folder / "hyperparameters.toml"
        path.parent.mkdir(exist_ok=True)
        assert old in VALID
        path.write_text(VALID.replace(old, new) if old else VALID)
        return path

    return write


def faults(path, benchmark=None):
    return list(hyperparameters_file.faults(hyperparameters_file.read(path, benchmark)))


def test_a_valid_file(write, capsys):
    assert main(["config", str(write())]) == 0
    assert capsys.readouterr().out == "passed: 0 faults; cosmoflow closed, mlperf_hpc_2.0\n"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/configs/*/hyperparameters.toml")), ids=str)
def test_the_files_of_this_repository_stand(path):
    assert faults(path) == []


def test_a_value_that_is_not_allowed_is_exit_code_1(write, capsys):
    path = write("0.001", "0.0")
    assert main(["config", str(path)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    where = "(mlperf_hpc_2.0.toml, cosmoflow closed)"
    assert first == f"{path}: opt_base_learning_rate: found 0.0, expected a number above 0 {where}"
    assert last == "FAILED: 1 fault; cosmoflow closed, mlperf_hpc_2.0"


@pytest.mark.parametrize(("value", "num_faults"), [("1e-9", 0), ("0", 1), ("nan", 1), ('"0.001"', 1), ("-1", 1)])
def test_the_bound_itself_and_types(write, value, num_faults):
    assert len(faults(write("0.001", value))) == num_faults


def test_a_key_that_closed_does_not_list_names_the_nearest(write):
    (fault,) = faults(write("opt_learning_rate_warmup_epochs", "opt_learning_rate_warmup_epoch"))
    assert "opt_learning_rate_warmup_epoch: the rules do not list it" in fault
    assert "did you mean 'opt_learning_rate_warmup_epochs'?" in fault


def test_open_may_have_keys_of_its_own(write):
    path = write('"closed"\n[hyperparameters]', '"open"\n[hyperparameters]\nmy_own_schedule = "cosine"')
    assert faults(path) == []


def test_the_problem_is_not_a_hyperparameter_in_either_division(write):
    path = write('"closed"\n[hyperparameters]', '"open"\n[hyperparameters]\ntrain_samples = 1000')
    (fault,) = faults(path)
    assert fault.startswith("train_samples: found 1000, expected 524288")


def test_a_key_in_both_tables(write):
    (fault,) = faults(write("[batch]", "[batch]\nopt_name = 'sgd'"))
    assert fault == "opt_name: found in [hyperparameters] and in [batch], expected in one of them"


def test_a_constraint_of_another_value_waits_for_it(tmp_path):
    path = tmp_path / "deepcam.toml"
    head = 'rules = "mlperf_hpc_2.0"\ndivision = "closed"\n[batch]\nglobal_batch_size = 64\n'
    text = head + '[hyperparameters]\nopt_name = "{}"\nopt_max_grad_norm = 2.0\n'
    path.write_text(text.format("AdamW"))
    assert faults(path, "deepcam") == []
    path.write_text(text.format("LAMB"))
    assert len(faults(path, "deepcam")) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[batch]", "[batches]", "batches: unknown key; did you mean 'batch'?"),
        ("mlperf_hpc_2.0", "mlperf_hpc_2", "rules: no rule set 'mlperf_hpc_2'; did you mean"),
        ('rules = "mlperf_hpc_2.0"\n', "", "rules: no rule set ''"),
        ("closed", "close", "division: found 'close', expected one of closed, open"),
        ("[hyper", "borrowed = 1\n[hyper", "borrowed: found 1, expected a table [borrowed]"),
        ("[batch]", "[system]", "expected a hyperparameters.toml"),
        ("[batch]", "[batch", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_judged(write, old, new, said):
    path = write(old, new)
    with pytest.raises(UserError, match=path.name) as caught:
        hyperparameters_file.read(path)
    assert said in str(caught.value)


def test_the_benchmark_is_that_of_the_folder_or_of_the_option(write):
    path = write(folder="experiments")
    with pytest.raises(UserError, match="give --benchmark NAME, one of cosmoflow, deepcam, oc20"):
        hyperparameters_file.read(path)
    assert hyperparameters_file.read(path, "cosmoflow").benchmark.name == "cosmoflow"
    with pytest.raises(RuleSetError, match="did you mean 'cosmoflow'"):
        hyperparameters_file.read(path, "cosmo_flow")


def test_a_global_batch_has_no_default(write):
    with pytest.raises(UserError, match=r"\[batch\] global_batch_size: missing, and it has no default"):
        hyperparameters_file.read(write("[batch]\nglobal_batch_size = 64\n"))


CLOSED = ROOT / "cosmoflow" / "configs" / "closed"


def configured(folder: Path, old: str = "", new: str = "") -> Path:
    """A copy of CosmoFlow's Closed configuration, with a change in system.toml."""
    pytest.importorskip("torch", reason="the check of a whole folder imports the benchmark, of the extra [train]")
    folder.mkdir()
    for name in ("hyperparameters.toml", "system.toml"):
        text = (CLOSED / name).read_text()
        assert name == "hyperparameters.toml" or old in text
        (folder / name).write_text(text.replace(old, new) if name == "system.toml" and old else text)
    return folder


def test_a_folder_is_checked_with_its_system_and_the_job_s_ranks(tmp_path, capsys):
    folder = configured(tmp_path / "mine")
    assert main(["config", str(folder), "--benchmark", "cosmoflow", "--ranks", "64"]) == 0
    assert capsys.readouterr().out == "passed: 0 faults; cosmoflow closed, mlperf_hpc_3.0, 64 ranks; with system.toml\n"


def test_ranks_that_cannot_share_the_batch_are_named_before_the_job(tmp_path, capsys):
    folder = configured(tmp_path / "mine")
    assert main(["config", str(folder), "--benchmark", "cosmoflow", "--ranks", "48"]) == 1
    fault = capsys.readouterr().out.splitlines()[0]
    assert fault.startswith(f"{folder}/hyperparameters.toml: global_batch_size: 64 samples cannot be shared equally")


def test_a_fault_of_system_toml_is_named_with_the_allowed_values(tmp_path, capsys):
    precision = next(line for line in (CLOSED / "system.toml").read_text().splitlines() if line.startswith("precision"))
    folder = configured(tmp_path / "mine", precision, 'precision = "fp17"')
    assert main(["config", str(folder / "hyperparameters.toml"), "--benchmark", "cosmoflow", "--ranks", "8"]) == 1
    expected = "[system] precision: found 'fp17', expected one of 'fp32', 'tf32', 'bf16', 'fp16', 'auto'"
    assert f"{folder}/system.toml: {expected}" in capsys.readouterr().out


def test_settings_that_the_device_does_not_have_are_named(tmp_path, capsys):
    precision = next(line for line in (CLOSED / "system.toml").read_text().splitlines() if line.startswith("precision"))
    folder = configured(tmp_path / "mine", precision, 'precision = "fp16"')
    command = ["config", str(folder), "--benchmark", "cosmoflow"]
    assert main([*command, "--device", "cuda"]) == 0
    assert main([*command, "--device", "cpu"]) == 1
    assert "precision: found 'fp16' on a CPU; it needs an accelerator" in capsys.readouterr().out
