# SPDX-License-Identifier: Apache-2.0
"""Q: what depends on the rule set; tests/logs has what a single log shows."""

import pytest

from compliance.rulesets import ruleset


@pytest.fixture
def demo_log(run_log, tmp_path):
    """A log that meets the demo's rules, and says that its data is synthetic; or does not."""

    def write(synthetic):
        demo = ruleset.load("mlperf_hpc_demo").benchmark("cosmoflow")
        counts = {key: constraint.equals for key, constraint in demo.keys().items()}
        marks = {"data_is_synthetic": True} if synthetic else {}
        return run_log(num_epochs=4, **counts, **marks).write(tmp_path / "result_0.txt")

    return write


def test_synthetic_data_passes_under_the_demos_rules(demo_log, findings):
    found = findings(demo_log(synthetic=True), "mlperf_hpc_demo")
    assert [finding.rule for finding in found if finding.severity == "error"] == []
    assert "Q111" not in {finding.rule for finding in found}


def test_the_demos_rules_ask_for_the_mark(demo_log, findings):
    (finding,) = [f for f in findings(demo_log(synthetic=False), "mlperf_hpc_demo") if f.rule == "Q111"]
    assert finding.severity == "warning"


def test_published_rules_reject_the_demo_for_its_size_alone(demo_log, findings):
    """The mark itself is a warning: what makes the demo no result of v3.0 is the data-set size, and the target."""
    found = findings(demo_log(synthetic=True), "mlperf_hpc_3.0")
    assert {finding.rule for finding in found if finding.severity == "error"} == {"H101"}
    assert {finding.rule for finding in found if finding.severity == "warning"} == {"Q111"}


def test_steps_between_evaluations_are_free_where_the_rules_say_so(run_log, tmp_path, findings):
    """v0.7 evaluated DeepCAM every so many steps: an epoch may have no evaluation, or several."""
    run = run_log("deepcam", num_epochs=6)
    for key in ("eval_start", "eval_accuracy", "eval_stop"):
        run.lines.pop(run.index(key, 2))
    path = run.write(tmp_path / "result_0.txt")
    assert "Q108" in {finding.rule for finding in findings(path, "mlperf_hpc_2.0")}
    assert not {finding.rule for finding in findings(path, "mlperf_hpc_0.7")} & {"Q107", "Q108"}
