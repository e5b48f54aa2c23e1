# SPDX-License-Identifier: Apache-2.0
"""T: limits that depend on division and rule set; tests/logs has the rest."""

import pytest

HOURS_4_MS = 4 * 3_600_000


@pytest.fixture
def rules_found(run_log, tmp_path, findings):
    """Rules that find something in a log whose initialisation took so long."""

    def check(init_ms, division, rules="mlperf_hpc_2.0"):
        run = run_log(num_epochs=2, submission_division=division)
        taken_ms = run.event("init_stop")["time_ms"] - run.event("init_start")["time_ms"]
        run.shift(init_ms - taken_ms, run.index("init_stop"))
        return [finding.rule for finding in findings(run.write(tmp_path / "result_0.txt"), rules)]

    return check


@pytest.mark.parametrize("rules", ["mlperf_hpc_1.0", "mlperf_hpc_2.0"])
def test_open_may_initialise_for_four_hours(rules_found, rules):
    assert rules_found(HOURS_4_MS, "open", rules) == []
    assert rules_found(HOURS_4_MS + 1, "open", rules) == ["T102"]
    assert rules_found(31 * 60_000, "closed", rules) == ["T102"]


def test_the_first_init_start_of_many_ranks_counts(run_log, tmp_path, findings):
    run = run_log(num_epochs=2)
    run.shift(1_800_000 - 20_000 + 1, run.index("init_stop"))
    late = run.event("init_start") | {"time_ms": run.event("init_stop")["time_ms"]}
    run.lines.insert(run.index("init_stop"), late)
    assert "T102" in [finding.rule for finding in findings(run.write(tmp_path / "result_0.txt"))]


def test_staging_may_be_long_but_not_off_the_clock_until_v30(run_log, tmp_path, findings):
    run = run_log(num_epochs=2)
    moved = [run.lines.pop(run.index(key)) for key in ("staging_start", "staging_stop")]
    start = run.index("run_start")
    for event in moved:
        event["time_ms"] = run.lines[start]["time_ms"]
    moved[1]["metadata"] = {"staging_duration": 0.0}
    run.lines[start:start] = moved
    path = run.write(tmp_path / "result_0.txt")
    assert [finding.rule for finding in findings(path, "mlperf_hpc_2.0")] == ["T104"]
    assert findings(path, "mlperf_hpc_3.0") == []
    staged = next(finding for finding in findings(path, "mlperf_hpc_2.0"))
    assert staged.expected == "after it (base.toml)"
