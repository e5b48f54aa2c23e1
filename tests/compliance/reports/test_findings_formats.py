# SPDX-License-Identifier: Apache-2.0
"""Findings in every format: the same ones, in the words of the contract, and harmless whatever a log says."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.checks.registry import RULES, Finding
from compliance.reports import findings_formats, findings_text, terminal
from compliance.review import Review, review
from compliance.rulesets.ruleset import load
from compliance.submissions.reader import Submission
from compliance.submissions.rules_choice import RuleSetChoice

CHOICE = RuleSetChoice(ruleset=load("mlperf_hpc_2.0"), reason="given by --rules")
FINDING_KEYS = ["rule", "severity", "path", "line", "message", "expected", "found", "fix"]
HOSTILE = "<script>alert(1)</script> | [x](javascript:1) \x1b[31m ]]> & =1+1"


@pytest.fixture
def broken(valid_round, edit_log):
    """A round in which acme lacks a run, and one of its logs holds text that would like to be more."""
    folder = valid_round / "acme" / "results" / "box" / "strong" / "cosmoflow"
    (folder / "result_9.txt").unlink()
    edit_log(folder / "result_3.txt", lambda run: run.set("submission_status", HOSTILE))
    return review(valid_round, "mlperf_hpc_2.0")


def errors(reviewed):
    return {(finding.rule, finding.path) for finding in reviewed.findings if finding.severity == "error"}


def lines_of(reviewed, **options):
    return findings_text.text(reviewed, **options).splitlines()


def test_text_names_the_rule_set_then_the_entries_then_the_findings(broken):
    lines = lines_of(broken)
    assert lines[0] == "rules mlperf_hpc_2.0 (given by --rules)"
    rows = [line.split() for line in lines[4:7]]
    assert rows[0] == ["acme/box/strong/cosmoflow", "errors", "2", "2", "1", "L106", "R101", "S107"]
    assert [row[1] for row in rows[1:]] == ["accepted", "accepted"]
    titles = [line for line in lines if line in findings_text.TITLES.values()]
    assert titles == ["Errors", "Warnings", "To check by hand"]
    assert lines[-1].startswith("FAILED: 2 errors, ")
    assert lines[-1].endswith(" in 25 logs of 3 entries")


def test_text_has_paths_relative_to_the_round(broken):
    folder = "acme/results/box/strong/cosmoflow"
    lines = lines_of(broken)
    position = lines.index(f"{folder}: R101 error: 9 runs of cosmoflow, expected at least 10 (mlperf_hpc_0.7.toml)")
    assert lines[position + 1].startswith("    fix: ")
    assert any(line.startswith(f"{folder}/result_3.txt:4: L106 error: submission_status is") for line in lines)
    assert str(broken.submission.root) not in findings_text.text(broken, show_all=True)


def test_text_names_each_manual_rule_once_unless_all_are_asked_for(broken):
    manual = [finding.rule for finding in broken.findings if finding.severity == "manual"]
    short, long = findings_text.text(broken), findings_text.text(broken, show_all=True)
    assert all(short.count(f"{rule} ") == 1 for rule in set(manual))
    assert all(long.count(f"{rule} manual") == manual.count(rule) for rule in set(manual))


def test_text_shortens_what_repeats_and_shows_it_on_demand(broken):
    first = next(finding for finding in broken.findings if finding.severity == "error")
    broken.findings.extend([first] * 9)
    short, long = findings_text.text(broken), findings_text.text(broken, show_all=True)
    assert short.count(f"{first.rule} error") == 1
    assert "(and 9 more in the entry)" in short
    assert long.count(f"{first.rule} error") == 10
    assert "more in the entry" not in long
    of_one_entry = findings_text.text(replace(broken, entries=broken.entries[:1]))
    assert of_one_entry.count(f"{first.rule} error") == 5
    assert f"... {first.rule} 5 times more (--all shows them)" in of_one_entry


def test_the_least_severity_hides_findings_and_changes_no_verdict(broken):
    shown = replace(broken, least_severity="error")
    assert {finding.severity for finding in shown.shown} == {"error"}
    assert not shown.ok
    assert "To check by hand" not in findings_text.text(shown)
    assert findings_text.text(shown).splitlines()[-1] == findings_text.text(broken).splitlines()[-1]
    rows = list(csv.DictReader(io.StringIO(findings_formats.render(shown, "csv"))))
    assert {row["severity"] for row in rows} == {"error"}


def test_colour_is_added_only_where_it_is_asked_for(broken):
    painted = findings_text.text(broken, paint=terminal.coloured)
    assert "\x1b[1;31mR101 error\x1b[0m: 9 runs" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == findings_text.text(broken)


@pytest.mark.parametrize(
    ("is_terminal", "environment", "is_coloured"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals(monkeypatch, is_terminal, environment, is_coloured):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    assert (terminal.paint_for(stream) is terminal.coloured) == is_coloured


def test_a_public_round_is_less_than_a_screenful_of_findings(published_results):
    """v2.0 was 222 lines."""
    reviewed = review(published_results / "hpc_results_v2.0")
    assert len(lines_of(reviewed)) < 60
    assert any(
        "L104 error: run_stop is missing" in line and "(and 3 more in the entry)" in line for line in lines_of(reviewed)
    )


def test_json_has_the_keys_of_the_contract(broken):
    document = json.loads(findings_formats.render(broken, "json"))
    assert list(document) == ["schema", "rules", "ok", "findings", "entries"]
    assert (document["schema"], document["rules"], document["ok"]) == (2, "mlperf_hpc_2.0", False)
    assert all(list(finding) == FINDING_KEYS for finding in document["findings"])
    found = {(one["rule"], one["path"]) for one in document["findings"] if one["severity"] == "error"}
    assert found == errors(broken)
    (entry,) = [entry for entry in document["entries"] if (entry["system"], entry["org"]) == ("box", "acme")]
    assert (entry["runs"], entry["scored"], entry["minutes"]) == (9, False, None)
    assert entry["verdict"] == "errors 2"
    assert {other["verdict"] for other in document["entries"] if other is not entry} == {"accepted"}


def test_csv_holds_every_finding(broken):
    rows = list(csv.DictReader(io.StringIO(findings_formats.render(broken, "csv"))))
    assert list(rows[0]) == FINDING_KEYS
    assert len(rows) == len(broken.findings)
    assert {(row["rule"], row["path"]) for row in rows if row["severity"] == "error"} == errors(broken)


def test_sarif_points_at_file_and_line_and_carries_its_rules(broken):
    document = json.loads(findings_formats.render(broken, "sarif"))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    found = set()
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        if result["level"] == "error":
            found.add((result["ruleId"], unquote(place["artifactLocation"]["uri"])))
        if result["ruleId"] == "L106":
            assert place["region"] == {"startLine": 4}
        if result["ruleId"] == "R101":
            assert "region" not in place
    assert found == errors(broken)
    assert all(rule["help"]["text"] and RULES[rule["id"]].summary in rule["fullDescription"]["text"] for rule in rules)


def test_sarif_suppresses_what_is_waived(valid_round):
    (valid_round / "acme" / "results" / "box" / "strong" / "cosmoflow" / "result_9.txt").unlink()
    text = '[[waiver]]\nrule = "R101"\npath = "."\nreason = "x"\napprover = "y"\n'
    waivers = valid_round.with_name("accepted.toml")
    waivers.write_text(text)
    document = json.loads(findings_formats.render(review(valid_round, "mlperf_hpc_2.0", waived_by=waivers), "sarif"))
    (result,) = [result for result in document["runs"][0]["results"] if result["ruleId"] == "R101"]
    assert result["suppressions"] == [{"kind": "external", "status": "accepted"}]


def test_junit_fails_the_cases_with_errors_and_no_others(broken):
    suites = ElementTree.fromstring(findings_formats.render(broken, "junit"))
    cases = {case.get("name"): case for case in suites.iter("testcase")}
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert failed == {path for _, path in errors(broken)}
    assert {str(log.path) for entry in broken.submission.entries for log in entry.logs} <= set(cases)
    assert suites.get("tests") == str(len(cases))
    assert suites.get("failures") == str(len(failed))


def test_markdown_has_a_row_for_every_finding_and_a_table_of_scores(broken):
    text = findings_formats.render(broken, "markdown")
    assert sum(f"| {finding.rule} | {finding.severity} |" in text for finding in broken.findings) == len(
        broken.findings
    )
    assert "## Scores" in text


def test_what_a_log_says_stays_data(broken):
    rendered = {form: findings_formats.render(broken, form) for form in ("text", "csv", "markdown", "junit")}
    assert not any("\x1b" in text for text in rendered.values())
    assert "<script>" not in rendered["markdown"].replace(r"\<script\>", "")
    assert "<script>" not in rendered["junit"]
    assert "[x](" not in rendered["markdown"]


@given(
    text=st.text(),
    line=st.integers(0, 10**9),
    severity=st.sampled_from(["error", "warning", "manual", "waived"]),
)
def test_any_text_in_a_finding_leaves_every_format_readable(text, line, severity):
    common = {"rule": "R101", "severity": severity, "path": "acme/result_0.txt", "line": line, "fix": "run again"}
    finding = Finding(**common, message=text, expected=text, found=text)
    submission = Submission(root=Path("acme"), kind="organization")
    reviewed = Review(submission=submission, choice=CHOICE, findings=[finding])
    assert json.loads(findings_formats.render(reviewed, "json"))["findings"][0]["message"] == text
    assert json.loads(findings_formats.render(reviewed, "sarif"))["runs"][0]["results"][0]["message"][
        "text"
    ].startswith(text)
    (row,) = csv.DictReader(io.StringIO(findings_formats.render(reviewed, "csv")))
    assert row["line"] == str(line)
    assert len(list(ElementTree.fromstring(findings_formats.render(reviewed, "junit")).iter("testcase"))) == 1
    assert all(character.isprintable() or character == "\n" for character in findings_formats.render(reviewed, "text"))


def test_a_valid_round_says_that_it_passed(valid_round):
    text = findings_formats.render(review(valid_round, "mlperf_hpc_2.0"), "text")
    assert "\npassed: 0 errors, " in text
    assert " errors " not in text.partition("\n\n")[2].partition("\n\n")[0].partition("-\n")[2]
    assert " error: " not in text
