# SPDX-License-Identifier: Apache-2.0
"""Findings on the public rounds: the full table, and docs/review_of_public_rounds.md, which justifies every error."""

import re
from collections import Counter
from pathlib import Path

import pytest

from compliance.checks import check
from compliance.rulesets import ruleset
from compliance.submissions import reader

DOCUMENT = Path(__file__).parents[2] / "docs" / "review_of_public_rounds.md"
ERROR = re.compile(r"^\| v(\S+) \| (\S+) \| ([A-Z]\d{3}) \| (\d+) \| .+ \|$", re.MULTILINE)
WARNING = re.compile(r"^\| ([A-Z]\d{3}) \| (\d+) \| (\d+) \| (\d+) \| .+ \|$", re.MULTILINE)
ROUNDS = ("0.7", "1.0", "2.0")
# (rule, severity): findings in v0.7, v1.0 and v2.0
TABLE = {
    ("C101", "error"): (0, 2, 1),
    ("C105", "warning"): (0, 3, 2),
    ("H108", "warning"): (0, 0, 4),
    ("L104", "error"): (11, 1, 6),
    ("L109", "warning"): (5, 4, 19),
    ("L114", "warning"): (3, 12, 2),
    ("L122", "manual"): (1, 1, 1),
    ("L123", "warning"): (1, 0, 0),
    ("P101", "warning"): (6, 8, 5),
    ("P901", "manual"): (11, 29, 20),
    ("Q101", "error"): (2, 0, 1),
    ("Q103", "warning"): (1, 0, 0),
    ("Q109", "warning"): (1, 0, 0),
    ("R104", "warning"): (3, 0, 0),
    ("R106", "error"): (4, 0, 0),
    ("R133", "warning"): (0, 1, 1),
    ("R135", "warning"): (0, 18, 0),
    ("R901", "manual"): (15, 31, 22),
    ("S103", "warning"): (7, 26, 10),
    ("S106", "error"): (1, 0, 0),
    ("S107", "warning"): (8, 6, 6),
    ("S109", "warning"): (0, 1, 0),
    ("S110", "warning"): (2, 10, 1),
    ("S113", "warning"): (0, 4, 0),
    ("S901", "manual"): (15, 31, 22),
    ("T107", "warning"): (1, 1, 1),
    ("T110", "warning"): (7, 5, 4),
    ("T111", "warning"): (0, 2, 0),
    ("T901", "manual"): (15, 31, 22),
}


@pytest.fixture(scope="module", params=ROUNDS)
def reviewed(request, public_rounds):
    """(round, its folder, its findings)."""
    if request.param not in public_rounds:
        pytest.skip(f"no results of v{request.param}; HPC_RESULTS names the folder of the published results")
    folder = public_rounds[request.param]
    return request.param, folder, check(reader.read(folder), ruleset.load(f"mlperf_hpc_{request.param}"))


def test_findings_are_those_of_the_table(reviewed):
    version, _, findings = reviewed
    column = ROUNDS.index(version)
    found = Counter((finding.rule, finding.severity) for finding in findings)
    assert found == {key: counts[column] for key, counts in TABLE.items() if counts[column]}


def test_errors_are_those_that_the_document_justifies(reviewed):
    version, folder, findings = reviewed
    stated = {
        (where, rule): int(logs)
        for round_, where, rule, logs in ERROR.findall(DOCUMENT.read_text())
        if round_ == version
    }
    errors = [
        (Path(finding.path).relative_to(folder), finding.rule) for finding in findings if finding.severity == "error"
    ]
    found = Counter()
    for path, rule in errors:
        places = [str(place) for place in (path, *path.parents)]
        found[next((place for place in places if (place, rule) in stated), str(path)), rule] += 1
    assert found == stated


def test_warnings_are_those_that_the_document_counts():
    stated = {(rule, "warning"): tuple(map(int, counts)) for rule, *counts in WARNING.findall(DOCUMENT.read_text())}
    assert stated == {key: counts for key, counts in TABLE.items() if key[1] == "warning"}


def test_false_successes_of_v07_are_named(reviewed):
    version, _, findings = reviewed
    if version == "0.7":
        named = [(Path(finding.path).parts[-4:], finding.found) for finding in findings if finding.rule == "Q101"]
        assert [(path[1], path[3], float(found) > 0.124) for path, found in named] == [
            ("abci_512xV100_tensorflow_closed", "result_9.txt", True),
            ("fugaku_512xA64FX_tensorflow_closed", "result_4.txt", True),
        ]
