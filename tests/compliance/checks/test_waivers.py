# SPDX-License-Identifier: Apache-2.0
"""Waivers: what they cover, and what is said of waivers themselves."""

import pytest

from compliance.review import review

WAIVER = '[[waiver]]\nrule = "{rule}"\npath = "{path}"\nreason = "disk failure"\napprover = "R. Viewer"\n'


@pytest.fixture
def one_run_short(valid_round):
    """acme's time-to-train entry lacks a run: R101."""
    (valid_round / "acme" / "results" / "box" / "strong" / "cosmoflow" / "result_9.txt").unlink()
    return valid_round


def outcome(folder, **waiver):
    waivers = {"rule": "R101", "path": "results/box/strong/cosmoflow"} | waiver
    (folder / "acme" / "waivers.toml").write_text(WAIVER.format(**waivers))
    return review(folder, "mlperf_hpc_2.0")


def of_rule(reviewed, rule):
    return [finding for finding in reviewed.findings if finding.rule == rule]


def test_without_a_waiver_the_finding_is_an_error(one_run_short):
    reviewed = review(one_run_short, "mlperf_hpc_2.0")
    assert [finding.severity for finding in of_rule(reviewed, "R101")] == ["error"]
    assert not reviewed.ok


@pytest.mark.parametrize("path", ["results/box/strong/cosmoflow", "results/box", "results", "."])
def test_a_waived_finding_is_shown_and_is_no_error(one_run_short, path):
    reviewed = outcome(one_run_short, path=path)
    (finding,) = of_rule(reviewed, "R101")
    assert finding.severity == "waived"
    assert "(error waived by R. Viewer: disk failure)" in finding.message
    assert reviewed.ok
    assert reviewed.counts["waived"] == 1


@pytest.mark.parametrize("change", [{"path": "results/cluster"}, {"path": "results/bo"}, {"rule": "R102"}])
def test_a_waiver_for_something_else_covers_nothing_and_is_named(one_run_short, change):
    reviewed = outcome(one_run_short, **change)
    assert not reviewed.ok
    (unused,) = of_rule(reviewed, "P952")
    assert unused.severity == "warning"
    assert "covers no finding" in unused.message


def test_a_waiver_reaches_no_other_organization(one_run_short):
    (one_run_short / "beta" / "waivers.toml").write_text(WAIVER.format(rule="R101", path="."))
    reviewed = review(one_run_short, "mlperf_hpc_2.0")
    assert not reviewed.ok
    assert len(of_rule(reviewed, "P952")) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": "R1O1"}, "no rule 'R1O1'; did you mean 'R1"),
        ({"path": "../beta"}, "expected a path beneath the organization's folder"),
        ({"path": "/"}, "expected a path beneath the organization's folder"),
        ({"rule": " "}, "expected a text"),
    ],
)
def test_a_waiver_that_cannot_hold_is_an_error(one_run_short, change, said):
    reviewed = outcome(one_run_short, **change)
    faults = [finding.message for finding in of_rule(reviewed, "P951")]
    assert any(said in fault for fault in faults)
    assert [finding.severity for finding in of_rule(reviewed, "R101")] == ["error"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[waiver]]\nrule = "R101"\npath = "."\nreason = "x"\n', "approver = None, expected a text"),
        ('[[waiver]]\nrule = "R101"\npath = "."\nreason = "x"\napprover = "y"\npaths = "."\n', "did you mean 'path'?"),
        ('waiver = ["R101"]\n', "is no table"),
        ('[waivers]\nrule = "R101"\n', "no [[waiver]] table"),
        ("[[waiver]\n", "not TOML"),
        ('[[waiver]]\nrule = ["R101"]\npath = "."\nreason = "x"\napprover = "y"\n', "expected a text"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(one_run_short, text, said):
    (one_run_short / "acme" / "waivers.toml").write_text(text)
    faults = [finding.message for finding in of_rule(review(one_run_short, "mlperf_hpc_2.0"), "P951")]
    assert any(said in fault for fault in faults)


def test_a_link_is_not_followed(one_run_short, tmp_path):
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(WAIVER.format(rule="R101", path="."))
    (one_run_short / "acme" / "waivers.toml").symlink_to(elsewhere)
    assert not review(one_run_short, "mlperf_hpc_2.0").ok
