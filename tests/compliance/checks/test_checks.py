# SPDX-License-Identifier: Apache-2.0
"""The engine: every rule is documented, prerequisites hold back their dependents, and nothing is changed on disk."""

import json
from hashlib import sha256

import pytest

from compliance.checks import MAX_FINDINGS, check
from compliance.checks.registry import RULES, SEVERITIES
from compliance.mllog import MAX_EVENTS, MAX_EVENTS_PER_KEY
from compliance.rulesets import ruleset
from compliance.submissions import reader


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_every_rule_says_what_why_and_how_to_mend(rule):
    assert rule.severity in SEVERITIES
    assert all(len(text) > 10 for text in (rule.summary, rule.why, rule.example, rule.fix))
    assert rule.summary.endswith((".", ")"))
    assert all(need in RULES and need < rule.id and RULES[need].scope == rule.scope for need in rule.needs)


def test_an_empty_log_is_one_finding(valid_round, acme_cosmoflow, findings):
    (acme_cosmoflow / "result_0.txt").write_text("")
    on_the_log = [finding.rule for finding in findings(valid_round) if finding.path.endswith("result_0.txt")]
    assert on_the_log == ["L101", "R104"]


def test_a_log_past_the_cap_is_found(tmp_path, run_log, findings):
    run = run_log(num_epochs=2)
    run.lines.insert(-1, run.event("run_stop") | {"key": "tracked_stats", "event_type": "POINT_IN_TIME"})
    path = run.write(tmp_path / "result_0.txt")
    line = next(line for line in path.read_text().splitlines() if "tracked_stats" in line)
    with path.open("a") as file:
        file.write(f"{line}\n" * (MAX_EVENTS - len(run.lines)))
    assert findings(path) == []
    with path.open("a") as file:
        file.write(f"{line}\n")
    assert [(finding.rule, finding.found) for finding in findings(path)] == [("L103", str(MAX_EVENTS + 1))]


def test_bad_lines_past_the_kept_ones_are_counted(tmp_path, run_log, findings):
    run = run_log(num_epochs=2)
    run.lines[5:5] = [":::MLLOG broken"] * 250
    found = findings(run.write(tmp_path / "result_0.txt"))
    assert {finding.rule for finding in found} == {"L102"}
    assert (len(found), found[0].line, found[0].message) == (101, 0, "150 more lines that hold no event")


def test_findings_stand_in_order_and_as_text(valid_round, acme_cosmoflow, findings, edit_log):
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


def test_manual_notes_stand_once_an_entry(valid_round):
    found = check(reader.read(valid_round), ruleset.load("mlperf_hpc_2.0"))
    notes = [(finding.rule, finding.path) for finding in found if finding.severity == "manual"]
    assert len(notes) == len(set(notes)) == 4 * 3


def test_a_constrained_key_that_is_not_wholly_kept_is_an_error(tmp_path, run_log, findings):
    run = run_log(num_epochs=2)
    run.lines[5:5] = [run.event("submission_status")] * (MAX_EVENTS_PER_KEY + 4)
    found = [finding for finding in findings(run.write(tmp_path / "result_0.txt")) if finding.rule == "L106"]
    assert [finding.message for finding in found] == ["submission_status stands 5 times more than are checked"]


def test_findings_past_the_cap_are_counted(tmp_path, run_log, findings):
    run = run_log(num_epochs=2)
    run.lines[5:5] = [run.event("submission_status") | {"value": "rented"}] * (MAX_FINDINGS + 5)
    found = [finding for finding in findings(run.write(tmp_path / "result_0.txt")) if finding.rule == "L106"]
    assert len(found) == MAX_FINDINGS + 1
    assert [finding.message for finding in found if finding.line == 0] == ["5 more findings of this rule"]
