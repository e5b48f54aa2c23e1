# SPDX-License-Identifier: Apache-2.0
"""Every tests/logs/<RULE>_{pass,fail,edge}.txt: failing ones yield exactly that rule, at the line that they state.

A log's first lines say what it shows, by which rules it is checked, and where the finding is:

    # T102 fail: one millisecond over the 30 minutes
    # rules: mlperf_hpc_2.0
    # finding: line 33                      (or: the whole log, or: none)
"""

import re
from pathlib import Path

import pytest

from compliance.checks.registry import RULES

LOGS = Path(__file__).parents[2] / "logs"
NAME = re.compile(r"([A-Z]\d{3})_(pass|fail|edge)\.txt")
CASES = ("pass", "fail", "edge")
# Rules about a single log that no small text file shows: 100,000 events, a folder of another name, HPC AI500's own.
ELSEWHERE = {"L103", "L107"}


def _stated(path: Path) -> tuple[str, list[tuple[str, int]]]:
    """(rule set, expected findings) of a fixture's head."""
    head = dict(re.findall(r"^# (rules|finding): (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)[:2])
    where = head["finding"]
    if where == "none":
        return head["rules"], []
    line = 0 if where == "the whole log" else int(where.removeprefix("line "))
    return head["rules"], [(path.name[:4], line)]


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.txt")), ids=lambda path: path.stem)
def test_log_yields_what_it_states(path, findings):
    rules, expected = _stated(path)
    found = [(finding.rule, finding.line) for finding in findings(path, rules)]
    assert found == expected


def test_failing_logs_expect_a_finding_and_others_none():
    for path in LOGS.glob("*.txt"):
        assert NAME.fullmatch(path.name), path.name
        assert bool(_stated(path)[1]) == ("_fail" in path.name), path.name


@pytest.mark.parametrize("rule", [rule for rule in sorted(RULES) if RULES[rule].scope == "log" and rule[0] in "LTQ"])
def test_rules_on_one_log_have_three_fixtures(rule):
    if RULES[rule].check.__module__ != "compliance.checks.hpc_ai500" and rule not in ELSEWHERE:
        assert all((LOGS / f"{rule}_{case}.txt").is_file() for case in CASES)
