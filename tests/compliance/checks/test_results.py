# SPDX-License-Identifier: Apache-2.0
"""R: counts, seeds, numbering, copies and oddities, at their boundaries; test_tamper.py has what breaks them."""

import shutil

import pytest

from compliance.checks import check
from compliance.rulesets import ruleset
from compliance.submissions import reader

HOUR_MS = 3_600_000


def rules_of(found):
    return [finding.rule for finding in found]


@pytest.fixture
def write_runs(tmp_path, run_log):
    """Runs of a lone result folder of deepcam, which needs five; `change(index, run)` may change each."""

    def write(num_runs=5, first=0, change=lambda index, run: None):
        folder = tmp_path / "deepcam"
        for index in range(num_runs):
            run = run_log("deepcam", seed=index + 1, num_epochs=12, start_ms=1_662_904_434_000 + index * HOUR_MS)
            change(index, run)
            run.write(folder / f"result_{first + index}.txt")
        return folder

    return write


def test_the_required_number_of_runs_passes(write_runs, findings):
    assert findings(write_runs(5)) == []


def test_one_run_fewer_fails_and_says_how_many_are_needed(write_runs, findings):
    (finding,) = findings(write_runs(4))
    assert finding.rule == "R101"
    assert "4 runs of deepcam" in finding.message
    assert finding.expected == "at least 5 (mlperf_hpc_0.7.toml)"


def test_one_run_more_is_an_error(write_runs, findings):
    assert [(finding.rule, finding.severity) for finding in findings(write_runs(6))] == [("R102", "error")]


def test_numbering_may_start_at_one_but_not_at_two(write_runs, findings, tmp_path):
    assert findings(write_runs(5, first=1)) == []
    shutil.rmtree(tmp_path / "deepcam")
    assert rules_of(findings(write_runs(5, first=2))) == ["R107"]


def test_two_files_of_one_number_are_named(write_runs, findings):
    folder = write_runs(5)
    (folder / "result_4.txt").rename(folder / "result_03.txt")
    (finding,) = findings(folder)
    assert (finding.rule, finding.message) == ("R107", "result_3.txt appears twice")


def miss(run):
    run.event("run_stop")["metadata"]["status"] = "aborted"
    for index in run.indices("eval_accuracy"):
        run.lines[index]["value"] -= 0.01


def test_one_missed_target_is_a_warning_and_two_are_an_error(write_runs, findings, tmp_path):
    one = findings(write_runs(change=lambda index, run: miss(run) if index == 0 else None))
    assert [(finding.rule, finding.severity) for finding in one] == [("R104", "warning")]
    shutil.rmtree(tmp_path / "deepcam")
    two = findings(write_runs(change=lambda index, run: miss(run) if index < 2 else None))
    assert ("R103", "error") in [(finding.rule, finding.severity) for finding in two]


def test_runs_without_seeds_are_not_runs_with_equal_seeds(valid_round, findings, edit_log):
    folder = valid_round / "acme/results/box/strong/cosmoflow"
    for path in folder.iterdir():
        edit_log(path, lambda run: run.drop("seed"))
    assert findings(valid_round) == []


def test_every_later_run_with_an_equal_seed_is_named(write_runs, findings):
    found = findings(write_runs(change=lambda index, run: run.set("seed", 333)))
    assert [finding.path.rsplit("/", 1)[1] for finding in found] == [f"result_{index}.txt" for index in (1, 2, 3, 4)]
    assert set(rules_of(found)) == {"R106"}


def test_a_pruned_instance_may_have_the_seed_of_a_kept_one(valid_round, findings):
    # the valid round's pruned instance has the seed of result_0
    assert findings(valid_round) == []


def test_v07_scores_no_throughput(valid_round, findings):
    assert "R109" in rules_of(findings(valid_round, "mlperf_hpc_0.7"))
    assert "R109" not in rules_of(findings(valid_round, "mlperf_hpc_1.0"))


def test_an_unknown_benchmark_is_named_with_the_nearest(valid_round, findings):
    strong = valid_round / "acme/results/box/strong"
    (strong / "cosmoflow").rename(strong / "cosmoflw")
    unknown = [finding for finding in findings(valid_round) if finding.rule == "R108"]
    assert "did you mean 'cosmoflow'?" in unknown[0].message


def test_a_copy_is_told_from_a_moved_copy(write_runs, findings, edit_log):
    folder = write_runs(5)
    shutil.copy(folder / "result_0.txt", folder / "result_3.txt")
    assert "byte for byte" in next(finding for finding in findings(folder) if finding.rule == "R131").message
    edit_log(folder / "result_3.txt", lambda run: run.shift(1))
    assert "with its times moved" in next(finding for finding in findings(folder) if finding.rule == "R131").message


def test_runs_back_to_back_do_not_overlap(write_runs, findings):
    starts = []

    def join(index, run):
        if starts:
            run.shift(starts[-1] - run.event("run_start")["time_ms"])
        starts.append(run.event("run_stop")["time_ms"])

    assert findings(write_runs(change=join)) == []


def test_a_run_that_starts_a_millisecond_early_overlaps(write_runs, findings):
    starts = []

    def join(index, run):
        if starts:
            run.shift(starts[-1] - run.event("run_start")["time_ms"] - (index == 2))
        starts.append(run.event("run_stop")["time_ms"])

    (finding,) = findings(write_runs(change=join))
    assert finding.rule == "T110"
    assert finding.path.endswith("result_2.txt")


def test_an_unreadable_result_is_an_error_and_the_rest_is_checked(valid_round, findings):
    folder = valid_round / "beta/results/rack/strong/deepcam"
    (folder / "result_4.txt").unlink()
    (folder / "result_4.txt").mkdir()
    found = findings(valid_round)
    assert {"R101", "R120"} <= set(rules_of(found))
    assert next(finding for finding in found if finding.rule == "R120").path == str(folder / "result_4.txt")


def test_a_throughput_entry_names_every_instance_that_missed(valid_round, findings, edit_log):
    folder = valid_round / "acme/results/cluster/weak/cosmoflow"

    def worsen(run):
        run.event("run_stop")["metadata"]["status"] = "aborted"
        for index in run.indices("eval_error"):
            run.lines[index]["value"] += 0.01

    for name in ("result_2.txt", "result_5.txt"):
        edit_log(folder / name, worsen)
    missed = [finding.path for finding in findings(valid_round) if finding.rule == "R105"]
    assert missed == [str(folder / "result_2.txt"), str(folder / "result_5.txt")]


def test_a_log_of_an_earlier_round_is_found_there(valid_round, tmp_path, edit_log):
    earlier = tmp_path / "earlier"
    shutil.copytree(valid_round / "beta", earlier / "beta")
    edit_log(valid_round / "beta/results/rack/strong/deepcam/result_1.txt", lambda run: run.set("opt_lr", 0.004))
    for index in (0, 2, 3, 4):
        moved_ms = 31_536_000_000 + index
        edit_log(
            valid_round / f"beta/results/rack/strong/deepcam/result_{index}.txt", lambda run, by=moved_ms: run.shift(by)
        )
    rules = ruleset.load("mlperf_hpc_2.0")
    found = check(reader.read(valid_round), rules, earlier=reader.read(earlier))
    copies = [finding for finding in found if finding.rule == "R136"]
    assert len(copies) == 5
    assert str(earlier / "beta/results/rack/strong/deepcam/result_0.txt") in copies[0].message
    assert "with its times moved" in copies[0].message
