# SPDX-License-Identifier: Apache-2.0
"""Which rule set holds, and the reason that is printed."""

import pytest

from compliance.files.errors import UserError
from compliance.rulesets.ruleset import RuleSetError
from compliance.submissions.reader import read
from compliance.submissions.rules_choice import choose

YEAR_MS = 31_557_600_000
START_2022_MS = 1_662_904_434_000


def test_the_callers_word_comes_first(valid_round):
    (valid_round / "submission.toml").write_text('rules = "mlperf_hpc_3.0"\n')
    choice = choose(read(valid_round), "mlperf_hpc_1.0")
    assert str(choice) == "mlperf_hpc_1.0 (given by --rules)"


def test_submission_toml_comes_before_layout_and_logs(valid_round):
    (valid_round / "submission.toml").write_text('rules = "mlperf_hpc_demo"\n')
    choice = choose(read(valid_round))
    assert choice.ruleset.name == "mlperf_hpc_demo"
    assert str(valid_round / "submission.toml") in choice.reason
    assert "synthetic data, comparable with nothing else" in str(choice)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('rules = "mlperf_hpc_2"', "did you mean 'mlperf_hpc_"),
        ('rules = ""', "expected one of"),
        ("rules = 2.0", "expected one of"),
    ],
)
def test_a_declaration_that_no_rule_set_has(valid_round, line, said):
    (valid_round / "submission.toml").write_text(line)
    with pytest.raises(UserError, match=r"submission\.toml") as caught:
        choose(read(valid_round))
    assert said in str(caught.value)


def test_organizations_of_a_round_that_agree(valid_round):
    for org in ("acme", "beta"):
        (valid_round / org / "submission.toml").write_text('rules = "mlperf_hpc_1.0"\n')
    assert choose(read(valid_round)).ruleset.name == "mlperf_hpc_1.0"


def test_organizations_of_a_round_that_do_not_agree(valid_round):
    (valid_round / "acme" / "submission.toml").write_text('rules = "mlperf_hpc_1.0"\n')
    (valid_round / "beta" / "submission.toml").write_text('rules = "mlperf_hpc_2.0"\n')
    with pytest.raises(UserError, match=r"acme: mlperf_hpc_1.0, beta: mlperf_hpc_2.0"):
        choose(read(valid_round))


def test_one_organization_alone_does_not_speak_for_a_round(valid_round):
    (valid_round / "acme" / "submission.toml").write_text('rules = "mlperf_hpc_1.0"\n')
    assert choose(read(valid_round)).reason == "implied by runs that started in 2022"


def test_the_folder_of_a_public_round(valid_round):
    folder = valid_round.rename(valid_round.with_name("hpc_results_v1.0"))
    choice = choose(read(folder / "acme"))
    assert str(choice) == "mlperf_hpc_1.0 (implied by the folder's name hpc_results_v1.0)"


def test_results_without_scaling_folders(valid_round):
    acme = valid_round / "acme"
    (acme / "results" / "box" / "strong" / "cosmoflow").rename(acme / "results" / "box" / "cosmoflow")
    (acme / "results" / "box" / "strong").rmdir()
    for folder in sorted((acme / "results" / "cluster").rglob("*"), reverse=True):
        folder.rmdir() if folder.is_dir() else folder.unlink()
    (acme / "results" / "cluster").rmdir()
    assert choose(read(acme)).ruleset.name == "mlperf_hpc_0.7"


@pytest.mark.parametrize(
    ("years_later", "name"),
    [(-10, "0.7"), (-2, "0.7"), (-1, "1.0"), (0, "2.0"), (1, "3.0"), (50, "3.0")],
)
def test_the_year_in_which_the_runs_started(run_log, tmp_path, years_later, name):
    log = run_log(start_ms=START_2022_MS + years_later * YEAR_MS).write(tmp_path / "result_0.txt")
    choice = choose(read(log))
    assert choice.ruleset.name == f"mlperf_hpc_{name}"
    assert choice.reason == f"implied by runs that started in {2022 + years_later}"


def test_benchmarks_of_hpc_ai500(run_log, tmp_path):
    run = run_log()
    run.set("submission_benchmark", "imagenet_resnet")
    choice = choose(read(run.write(tmp_path / "result_0.txt")))
    assert str(choice) == "hpc_ai500_2.0 (implied by imagenet_resnet)"


def test_nothing_to_go_by(tmp_path):
    (tmp_path / "result_0.txt").write_text("no event\n")
    choice = choose(read(tmp_path))
    assert choice.ruleset.name == "mlperf_hpc_3.0"
    assert "the newest" in choice.reason


def test_an_unknown_name(valid_round):
    with pytest.raises(RuleSetError, match=r"did you mean 'hpc_ai500_2.0'"):
        choose(read(valid_round), "hpc_ai500_2")
