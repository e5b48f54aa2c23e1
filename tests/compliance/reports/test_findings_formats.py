# SPDX-License-Identifier: Apache-2.0
"""Findings in every format: the same ones, in the words of the contract, and harmless whatever a log says."""

import csv
import io
import json
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.checks.registry import RULES, Finding
from compliance.reports import findings_formats
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


def test_text_reads_as_in_the_contract(broken):
    lines = findings_formats.render(broken, "text").splitlines()
    folder = str(broken.submission.root / "acme" / "results" / "box" / "strong" / "cosmoflow")
    (line,) = [line for line in lines if "R101" in line and folder in line]
    assert line.startswith(f"{folder}: R101 error: 9 runs of cosmoflow, expected at least 10 (mlperf_hpc_0.7.toml)")
    (line,) = [line for line in lines if "L106" in line and folder in line]
    assert line.startswith(f"{folder}/result_3.txt:4: L106 error: submission_status is")
    assert lines[lines.index("== acme/box/strong/cosmoflow") + 1].startswith(folder)
    assert any(line.startswith("R101  ") for line in lines), "how to fix"
    assert lines[-1] == "rules mlperf_hpc_2.0 (given by --rules)"
    assert lines[-2].startswith("FAILED: 2 errors, ")
    assert lines[-2].endswith(" in 25 logs of 3 entries")


def test_text_says_the_gravest_first(broken):
    text = findings_formats.render(broken, "text").partition("== acme/box/strong/cosmoflow\n")[2].partition("\n\n")[0]
    severities = [line.partition(": ")[2].split()[1].rstrip(":") for line in text.splitlines()]
    assert severities == sorted(severities, key=["error", "warning", "manual", "waived"].index)
    assert len(set(severities)) > 1


def test_text_shortens_what_repeats_and_shows_it_on_demand(broken):
    first = broken.findings[0]
    broken.findings.extend([first] * 9)
    short, long = findings_formats.render(broken, "text"), findings_formats.render(broken, "text", show_all=True)
    assert "times more (--all shows them)" in short
    assert long.count(f"{first.rule} {first.severity}") > short.count(f"{first.rule} {first.severity}")
    assert "times more" not in long


def test_json_has_the_keys_of_the_contract(broken):
    document = json.loads(findings_formats.render(broken, "json"))
    assert list(document) == ["schema", "rules", "ok", "findings", "entries"]
    assert (document["schema"], document["rules"], document["ok"]) == (2, "mlperf_hpc_2.0", False)
    assert all(list(finding) == FINDING_KEYS for finding in document["findings"])
    found = {(one["rule"], one["path"]) for one in document["findings"] if one["severity"] == "error"}
    assert found == errors(broken)
    (entry,) = [entry for entry in document["entries"] if (entry["system"], entry["org"]) == ("box", "acme")]
    assert (entry["runs"], entry["valid"], entry["minutes"]) == (9, False, None)


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
    (valid_round / "acme" / "waivers.toml").write_text(text)
    document = json.loads(findings_formats.render(review(valid_round, "mlperf_hpc_2.0"), "sarif"))
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
    reviewed = Review(submission=submission, choice=CHOICE, findings=[finding], scores=[])
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
    assert " error: " not in text
