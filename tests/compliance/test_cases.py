# SPDX-License-Identifier: Apache-2.0
"""Small made-up inputs on which the checker was once wrong: the errors and warnings that are right for each.

The inputs are in shared/cases beside the project; the packager's two (20, 21) are in submissions/test_packaging.py.
"""

import pytest

from compliance.__main__ import main
from compliance.review import review

WITHOUT_CODE = {"P101"}  # no case of a whole submission has its code
SUBMISSIONS = {
    # case: (errors, warnings, scored)
    "01_openfold_too_fast": ({"C101"}, set(), True),
    "02_openfold_text_seed": (set(), {"L116"}, True),
    "03_times_in_seconds": ({"T116"}, set(), False),
    "03b_three_of_ten_in_seconds": ({"T116"}, {"T117"}, False),
    "04_no_status": ({"Q115"}, set(), True),
    "05_pruned_unconverged": ({"R112"}, {"R111", "S111"}, True),
    "06_seven_runs": ({"R102"}, set(), True),
    "07_description_lacks_framework": ({"S112"}, set(), True),
    "08_same_seed_open": (set(), {"R113"}, True),
    "09_one_run_diverged_to_nan": (set(), {"Q116", "R104"}, True),
    "10_two_runs_stop_before_start": ({"T101"}, set(), False),
    "11_scaling_json": (set(), {"C106"}, True),
}
LOGS = {
    "12_last_epoch_stop_missing.txt": (set(), {"L119"}),
    "13_epoch_stop_after_run_stop.txt": (set(), {"L119", "T114"}),
    "14_submission_lines_of_two_nodes.txt": (set(), {"L118"}),
    "15_eval_marks_without_epoch_num.txt": ({"L111"}, set()),
    "16_two_samples_fewer.txt": ({"H101"}, set()),
    "17_decay_factor_above_one.txt": ({"H102"}, set()),
    "18_shell_trace.txt": (set(), {"L117"}),
    "19_older_format.txt": ({"L101"}, set()),
    "19_result.txt.gz": ({"L101"}, set()),
    "19_utf16.txt": ({"L101"}, set()),
}
ADVICE = {
    "19_older_format.txt": "lines in the format of mlperf-logging before v0.7",
    "19_result.txt.gz": "a gzip file, expected a log as plain text; unpack it with gunzip",
    "19_utf16.txt": "UTF-16 text, expected a log as plain text; convert it with iconv",
}


def rules_of(outcome, severity):
    return {finding.rule for finding in outcome.findings if finding.severity == severity}


@pytest.mark.parametrize("case", SUBMISSIONS)
def test_a_submission_has_the_right_findings_and_a_score_only_if_its_times_are_possible(shared_cases, case):
    errors, warnings, is_scored = SUBMISSIONS[case]
    outcome = review(shared_cases / case)
    assert outcome.choice.ruleset.name == "mlperf_hpc_3.0"
    assert rules_of(outcome, "error") == errors
    assert rules_of(outcome, "warning") == warnings | WITHOUT_CODE
    (entry,) = outcome.entries
    assert entry.verdict == ("accepted" if not errors else f"errors {entry.num_errors}")
    assert entry.score.scored is is_scored


@pytest.mark.parametrize("case", LOGS)
def test_a_log_has_the_right_findings(shared_cases, case):
    outcome = review(shared_cases / case, "mlperf_hpc_3.0")
    assert (rules_of(outcome, "error"), rules_of(outcome, "warning")) == LOGS[case]


@pytest.mark.parametrize("case", ADVICE)
def test_a_file_of_another_format_is_named_with_what_to_do(shared_cases, case, capsys):
    assert main(["check", str(shared_cases / case), "--rules", "mlperf_hpc_3.0"]) == 1
    assert ADVICE[case] in capsys.readouterr().out


def test_a_pruned_run_that_missed_the_target_is_not_to_be_pruned(shared_cases, capsys):
    assert main(["check", str(shared_cases / "05_pruned_unconverged")]) == 1
    assert "repeat the entry with hyperparameters that converge" in capsys.readouterr().out
