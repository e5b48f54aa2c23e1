# SPDX-License-Identifier: Apache-2.0
"""docs/review_of_public_rounds.md against the rounds themselves: every error justified, every line still true."""

import re
from collections import Counter
from pathlib import Path

import pytest

from compliance.checks import check
from compliance.rulesets import ruleset
from compliance.submissions import reader

DOCUMENT = Path(__file__).parents[2] / "docs" / "review_of_public_rounds.md"
ERROR = re.compile(r"^\| v(\S+) \| (\S+) \| ([A-Z]\d{3}) \| (\d+) \| .+ \|$", re.MULTILINE)
WARNING = re.compile(r"^\| ([A-Z]\d{3}) \| (\d+) \| (\d+) \| .+ \|$", re.MULTILINE)
ROUNDS = ("0.7", "2.0")


@pytest.fixture(scope="module", params=ROUNDS)
def reviewed(request, published_results):
    """(round, its folder, its findings)."""
    folder = published_results / f"hpc_results_v{request.param}"
    return request.param, folder, check(reader.read(folder), ruleset.load(f"mlperf_hpc_{request.param}"))


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


def test_warnings_are_those_that_the_document_counts(reviewed):
    version, _, findings = reviewed
    column = ROUNDS.index(version)
    stated = {rule: int(counts[column]) for rule, *counts in WARNING.findall(DOCUMENT.read_text())}
    found = Counter(finding.rule for finding in findings if finding.severity == "warning")
    assert found == {rule: count for rule, count in stated.items() if count}


def test_false_successes_of_v07_are_named(reviewed):
    version, _, findings = reviewed
    if version == "0.7":
        named = [(Path(finding.path).parts[-4:], finding.found) for finding in findings if finding.rule == "Q101"]
        assert [(path[1], path[3], float(found) > 0.124) for path, found in named] == [
            ("abci_512xV100_tensorflow_closed", "result_9.txt", True),
            ("fugaku_512xA64FX_tensorflow_closed", "result_4.txt", True),
        ]
