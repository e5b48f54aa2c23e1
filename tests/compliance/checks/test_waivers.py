# SPDX-License-Identifier: Apache-2.0
"""Waivers: what they cover, and what is said of waivers themselves."""

import re
from pathlib import Path

import pytest

from compliance.checks.registry import Finding
from compliance.checks.waivers import Waiver, Waivers, apply
from compliance.files.errors import UserError
from compliance.review import review

WAIVER = '[[waiver]]\nrule = "{rule}"\npath = "{path}"\nreason = "disk failure"\napprover = "R. Viewer"\n'


@pytest.fixture
def one_run_short(valid_round):
    """acme's time-to-train entry lacks a run: R101."""
    (valid_round / "acme" / "results" / "box" / "strong" / "cosmoflow" / "result_9.txt").unlink()
    return valid_round


def outcome(folder, **waiver):
    """The review of a round with one waiver of the reviewer."""
    waivers = {"rule": "R101", "path": "acme/results/box/strong/cosmoflow"} | waiver
    return granted(folder, WAIVER.format(**waivers))


def granted(folder, text):
    file = folder.with_name("accepted.toml")
    file.write_text(text)
    return review(folder, "mlperf_hpc_2.0", waived_by=file)


def requested(folder, text):
    (folder / "acme" / "waivers.toml").write_text(text)
    return review(folder, "mlperf_hpc_2.0")


def of_rule(reviewed, rule):
    return [finding for finding in reviewed.findings if finding.rule == rule]


def test_without_a_waiver_the_finding_is_an_error(one_run_short):
    reviewed = review(one_run_short, "mlperf_hpc_2.0")
    assert [finding.severity for finding in of_rule(reviewed, "R101")] == ["error"]
    assert not reviewed.ok


@pytest.mark.parametrize("path", ["acme/results/box/strong/cosmoflow", "acme/results/box", "acme", "."])
def test_a_waived_finding_is_shown_and_is_no_error(one_run_short, path):
    reviewed = outcome(one_run_short, path=path)
    (finding,) = of_rule(reviewed, "R101")
    assert finding.severity == "waived"
    assert "(error waived by R. Viewer: disk failure)" in finding.message
    assert reviewed.ok
    assert reviewed.counts["waived"] == 1


@pytest.mark.parametrize(
    "change", [{"path": "acme/results/cluster"}, {"path": "acme/results/bo"}, {"rule": "R102"}, {"path": "beta"}]
)
def test_a_waiver_for_something_else_covers_nothing_and_is_named(one_run_short, change):
    reviewed = outcome(one_run_short, **change)
    assert not reviewed.ok
    (unused,) = of_rule(reviewed, "P952")
    assert unused.severity == "warning"
    assert "covers no finding" in unused.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WAIVER.format(rule="R1O1", path="."), "waiver 1: no rule 'R1O1'; did you mean 'R1"),
        (WAIVER.format(rule="R101", path="../beta"), "expected a relative path"),
        (WAIVER.format(rule="R101", path="/"), "expected a relative path"),
        (WAIVER.format(rule=" ", path="."), "expected a text"),
        ('[[waiver]]\nrule = "R101"\npath = "."\nreason = "x"\n', "approver = None, expected a text"),
        ('[[waiver]]\nrule = "R101"\npath = "."\nreason = "x"\napprover = "y"\npaths = "."\n', "did you mean 'path'?"),
        ('waiver = ["R101"]\n', "is not a table"),
        ('[waivers]\nrule = "R101"\n', "no [[waiver]] table"),
        ("[[waiver]\n", "not TOML"),
        ('[[waiver]]\nrule = ["R101"]\npath = "."\nreason = "x"\napprover = "y"\n', "expected a text"),
    ],
)
def test_a_file_that_cannot_be_used(one_run_short, text, said):
    """The reviewer's own file is refused; in a request for waivers it is a warning."""
    with pytest.raises(UserError, match=re.escape(said)):
        granted(one_run_short, text)
    (finding,) = of_rule(requested(one_run_short, text), "P951")
    assert finding.severity == "warning"
    assert said in finding.message


def test_a_waivers_file_in_the_submission_is_a_request_and_changes_nothing(one_run_short):
    reviewed = requested(one_run_short, WAIVER.format(rule="R101", path="results/box/strong/cosmoflow"))
    assert [finding.severity for finding in of_rule(reviewed, "R101")] == ["error"]
    assert not reviewed.ok
    (request,) = of_rule(reviewed, "P956")
    assert request.severity == "manual"
    assert "asks to waive R101 for " in request.message
    assert "disk failure" in request.message


def test_a_request_behind_a_link_is_not_read(one_run_short, tmp_path):
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(WAIVER.format(rule="R101", path="."))
    (one_run_short / "acme" / "waivers.toml").symlink_to(elsewhere)
    assert not of_rule(review(one_run_short, "mlperf_hpc_2.0"), "P956")


def test_many_requests_are_one_finding(one_run_short):
    text = "".join(WAIVER.format(rule="R101", path=f"results/{number}") for number in range(2000))
    (request,) = of_rule(requested(one_run_short, text), "P956")
    assert "and 1995 more" in request.message


def test_twelve_thousand_waivers_and_a_thousand_findings_take_linear_time():
    findings = [
        Finding(rule="R101", severity="error", path=f"a/{n}/b/c/d", line=0, message="", expected="", found="", fix="")
        for n in range(1000)
    ]
    counted = CountedComparisons()
    waivers = [
        Waiver(rule="R101", path=counted.path(f"a/{number}"), reason="r", approver="a") for number in range(12_000)
    ]
    marked = apply(findings, Waivers(path=Path("w.toml"), waivers=waivers))
    assert sum(finding.severity == "waived" for finding in marked) == 1000
    assert counted.number < 10 * (len(findings) + len(waivers))


class CountedComparisons:
    """Paths that count how often they are compared."""

    def __init__(self):
        self.number = 0

    def path(self, text):
        counter = self

        class CountedPath(type(Path())):
            def __eq__(self, other):
                counter.number += 1
                return str(self) == str(other)

            def __hash__(self):
                return hash(Path(str(self)))

        return CountedPath(text)
