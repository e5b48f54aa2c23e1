# SPDX-License-Identifier: Apache-2.0
"""The engine: rules are documented, a failed prerequisite skips its dependents, and nothing is changed on disk."""

import json
from hashlib import sha256

import pytest

from compliance import checks
from compliance.checks import MAX_FINDINGS, check
from compliance.checks.registry import RULES, SEVERITIES
from compliance.rulesets import ruleset
from compliance.run_log import MAX_EVENTS, MAX_EVENTS_PER_KEY
from compliance.submissions import reader


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_every_rule_has_a_summary_a_reason_an_example_and_a_fix(rule):
    assert rule.severity in SEVERITIES
    assert all(len(text) > 10 for text in (rule.summary, rule.why, rule.example, rule.fix))
    assert rule.summary.endswith((".", ")"))
    assert all(need in RULES and need < rule.id and RULES[need].scope == rule.scope for need in rule.needs)


def test_an_empty_log_is_one_finding(valid_round, acme_cosmoflow, findings):
    (acme_cosmoflow / "result_0.txt").write_text("")
    on_the_log = [finding.rule for finding in findings(valid_round) if finding.path.endswith("result_0.txt")]
    assert on_the_log == ["L101", "R104"]


def test_a_log_with_too_many_marks_is_found(tmp_path, run_log, findings):
    path = run_log(num_epochs=2).write(tmp_path / "result_0.txt")
    lines = path.read_text().splitlines(keepends=True)
    mark = next(line for line in lines if "init_start" in line)
    path.write_text("".join([*lines[:6], mark * 2 * MAX_EVENTS, *lines[6:]]))
    assert "L103" in [finding.rule for finding in findings(path)]


def test_losses_of_every_step_do_not_make_a_log_too_long(tmp_path, run_log, findings):
    path = run_log(num_epochs=2).write(tmp_path / "result_0.txt")
    lines = path.read_text().splitlines(keepends=True)
    loss = next(line for line in lines if "train_loss" in line)
    position = lines.index(loss)
    path.write_text("".join([*lines[:position], loss * 2 * MAX_EVENTS, *lines[position:]]))
    assert findings(path) == []


def test_bad_lines_past_the_kept_ones_are_counted(tmp_path, run_log, findings):
    run = run_log(num_epochs=2)
    run.lines[5:5] = [":::MLLOG broken"] * 250
    found = findings(run.write(tmp_path / "result_0.txt"))
    assert {finding.rule for finding in found} == {"L102"}
    assert (len(found), found[0].line, found[0].message) == (101, 0, "150 more lines that are not one event")


def test_findings_are_sorted_and_read_as_text(valid_round, acme_cosmoflow, findings, edit_log):
    edit_log(acme_cosmoflow / "result_2.txt", lambda run: run.set("dropout", 7))
    edit_log(acme_cosmoflow / "result_2.txt", lambda run: run.shift(31 * 60_000, run.index("init_stop")))
    found = [finding for finding in findings(valid_round) if finding.path.endswith("result_2.txt")]
    assert [finding.line for finding in found] == sorted(finding.line for finding in found)
    text = next(str(finding) for finding in found if finding.rule == "T102")
    path = acme_cosmoflow / "result_2.txt"
    assert text == f"{path}:23: T102 error: init took 31m20s, expected at most 30m00s (mlperf_hpc_0.7.toml)"


@pytest.mark.parametrize("rules", ruleset.names())
def test_a_round_can_be_checked_by_every_rule_set(valid_round, rules):
    found = check(reader.read(valid_round), ruleset.load(rules))
    assert all(finding.severity in SEVERITIES for finding in found)
    json.dumps([finding.message for finding in found])


def test_checking_changes_no_byte(valid_round, findings):
    def state():
        files = sorted(path for path in valid_round.rglob("*") if path.is_file())
        return [(path, path.stat().st_mtime_ns, sha256(path.read_bytes()).hexdigest()) for path in files]

    before = state()
    findings(valid_round)
    assert state() == before


def test_manual_notes_appear_once_per_entry(valid_round):
    found = check(reader.read(valid_round), ruleset.load("mlperf_hpc_2.0"))
    notes = [(finding.rule, finding.path) for finding in found if finding.severity == "manual"]
    assert len(notes) == len(set(notes)) == 4 * 3 + 1  # the missing digests are one note for the submission


def test_a_constrained_key_that_is_not_wholly_kept_is_an_error(tmp_path, run_log, findings):
    run = run_log(num_epochs=2)
    run.lines[5:5] = [run.event("submission_status")] * (MAX_EVENTS_PER_KEY + 4)
    found = [finding for finding in findings(run.write(tmp_path / "result_0.txt")) if finding.rule == "L106"]
    assert [finding.message for finding in found] == ["submission_status appears 5 times more than are checked"]


def test_findings_past_the_cap_are_counted(tmp_path, run_log, findings):
    run = run_log(num_epochs=2)
    run.lines[5:5] = [run.event("eval_error") | {"value": -0.1}] * (MAX_FINDINGS + 5)
    found = [finding for finding in findings(run.write(tmp_path / "result_0.txt")) if finding.rule == "Q105"]
    assert len(found) == MAX_FINDINGS + 1
    assert [finding.message for finding in found if finding.line == 0] == ["5 more findings of this rule"]


def test_findings_of_an_entry_past_its_part_are_counted(valid_round, acme_cosmoflow, findings, edit_log, monkeypatch):
    monkeypatch.setattr(checks, "MAX_FINDINGS_OF_ENTRIES", 300)  # 100 for each of the three entries
    for path in acme_cosmoflow.iterdir():
        edit_log(path, lambda run: [run.lines[index].update(value=-0.1) for index in run.indices("eval_error")])
    found = [finding for finding in findings(valid_round) if finding.rule == "Q105"]
    kept = [finding for finding in found if finding.line]
    (surplus,) = (finding for finding in found if not finding.line)
    assert len(kept) <= 100
    assert surplus.path == str(acme_cosmoflow)
    assert surplus.message == f"{240 - len(kept)} more findings of this rule"
