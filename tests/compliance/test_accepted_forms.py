# SPDX-License-Identifier: Apache-2.0
"""Forms of logs and submissions that public rounds accepted: no errors, and the right times, epochs and scores.

The logs are made up; docs/review_of_public_rounds.md lists the forms.
"""

import json

import pytest

from compliance import mllog
from compliance.checks import rules_for
from compliance.rulesets import ruleset
from compliance.scoring.phases import run_phases
from compliance.scoring.run_metrics import epochs, training_seconds
from compliance.scoring.score import score, score_entry
from compliance.submissions import reader

V3 = "mlperf_hpc_3.0"
ERRORS = ("error",)
BATCH, EVERY = 256, 40
CONSTRAINTS = ruleset.load(V3).benchmark("openfold").hyperparameters("closed")
CHOSEN = {
    "opt_base_learning_rate": 0.001,
    "opt_learning_rate_warmup_init": 1e-5,
    "opt_learning_rate_warmup_steps": 0,
    "initial_training_dataloader_type": "InitialTrainingDataloaderPQ",
}


def train_asynchronously(run, seed, num_epochs):
    """Log epochs whose evaluations are written during the next epoch, until an evaluation meets the target."""
    samples = BATCH * EVERY
    for epoch in range(1, num_epochs + 1):
        number = epoch * samples
        run.start("epoch", epoch_num=number)
        if epoch > 1:
            run.start("eval", 200, epoch_num=number - samples)
        run.log("eval_accuracy", 0.7 + 0.007 * epoch + seed * 1e-4, after_ms=20_000, epoch_num=number - samples)
        run.stop("eval", epoch_num=number - samples)
        training_ms = 27_000 + seed * 10 + epoch
        run.stop("epoch", training_ms - 20_000 - (200 if epoch > 1 else 0), epoch_num=number)
        run.log("tracked_stats", {"throughput": 1000 * samples / training_ms}, step=epoch)
    last = num_epochs * samples
    run.start("epoch", 1000, epoch_num=last + samples)
    run.start("eval", 200, epoch_num=last)
    run.log("eval_accuracy", 0.801, after_ms=20_000, epoch_num=last)
    run.stop("eval", epoch_num=last)
    run.stop("run", status="success")
    run.stop("epoch", 2000, epoch_num=last + samples)


@pytest.fixture
def openfold(run_log):
    """A log as asynchronous evaluation writes it: the model of epoch k is evaluated during epoch k + 1.

    Training processes log epochs, others log evaluations, and the run stops when an evaluation meets the target. The
    seed is text, staging is over before the clock starts, and the initial model is evaluated first.
    """

    def build(seed=1, num_epochs=13, start_ms=1_695_865_940_630, **values):
        run = type(run_log())()
        run.clock_ms = start_ms
        run.start("init")
        run.log("cache_clear", True)
        for key, value in (("benchmark", "openfold"), ("org", "acme"), ("division", "closed"), ("status", "onprem")):
            run.log(f"submission_{key}", value)
        run.log("submission_platform", "260 nodes")
        hyperparameters = {key: words.equals for key, words in CONSTRAINTS.items()} | CHOSEN
        counts = {"number_of_ranks": 2080, "number_of_nodes": 260, "accelerators_per_node": 8}
        for key, value in ({"seed": str(seed), "global_batch_size": BATCH} | counts | hyperparameters | values).items():
            run.log(key, value)
        run.log("staging_start")
        run.log("staging_stop", staging_duration=5e-7)
        run.stop("init", 200_000)
        run.start("run", 2)
        run.log("eval_samples", 180, after_ms=10_000)
        run.start("eval", 1000, epoch_num=0)
        run.log("train_samples", 594_595, after_ms=7000)
        train_asynchronously(run, seed, num_epochs)
        return run

    return build


def rules_of(found, severities=("error", "warning")):
    return sorted({finding.rule for finding in found if finding.severity in severities})


def test_asynchronous_evaluation_is_no_error(openfold, tmp_path, findings):
    found = findings(openfold().write(tmp_path / "result_0.txt"), V3)
    assert rules_of(found, ERRORS) == []
    # the text seed, staging as points in time, ranks that do not divide the batch, and the open epoch
    assert rules_of(found) == ["H106", "L109", "L116", "L119", "T114"]


def test_overlapping_epochs_keep_their_own_times(openfold, tmp_path):
    log = mllog.read(openfold().write(tmp_path / "result_0.txt"))
    complete = [epoch for epoch in epochs(log) if epoch.stop is not None]
    assert [epoch.number for epoch in complete] == [n * BATCH * EVERY for n in range(1, 14)]
    assert [seconds for _, seconds in training_seconds(log)] == pytest.approx([27.01 + n / 1000 for n in range(1, 14)])


def test_nothing_after_run_stop_counts(openfold, tmp_path):
    run = openfold()
    path = run.write(tmp_path / "result_0.txt")
    before = mllog.read(path)
    phases = run_phases(before)
    run.start("eval", 5_000_000, epoch_num=1)
    run.log("eval_accuracy", 0.9, after_ms=1000, epoch_num=1)
    run.stop("eval", epoch_num=1)
    after = mllog.read(run.write(path))
    assert run_phases(after) == phases
    assert len(epochs(after)) == len(epochs(before))


def test_an_entry_of_asynchronous_runs_is_scored_by_its_samples(openfold, tmp_path, findings):
    folder = tmp_path / "openfold"
    for index in range(10):
        start_ms = 1_695_865_940_630 + index * 3_600_000
        openfold(seed=index + 1, num_epochs=12, start_ms=start_ms).write(folder / f"result_{index}.txt")
    (entry,) = reader.read(folder).entries
    scored = score_entry(entry, rules_for(entry, ruleset.load(V3)))
    assert scored.reference.startswith("122880 training samples against 133120")
    assert "C101" in rules_of(findings(folder, V3), ERRORS)  # 122880 is below the least acceptable mean of 123132


def test_target_after_run_stop_is_an_error(openfold, tmp_path, findings):
    run = openfold()
    run.lines.append(run.lines.pop(run.indices("eval_accuracy")[-1]))
    assert "T109" in rules_of(findings(run.write(tmp_path / "result_0.txt"), V3), ERRORS)


def test_an_event_just_before_its_interval_is_within_the_tolerance(run_log, tmp_path, findings):
    run = run_log(num_epochs=3)
    for nth in range(3):
        run.event("eval_error", nth)["time_ms"] = run.event("eval_start", nth)["time_ms"] - 1
    assert "T106" not in rules_of(findings(run.write(tmp_path / "result_0.txt")))


def test_the_next_epoch_may_start_before_one_stops(run_log, tmp_path, findings):
    run = run_log(num_epochs=4)
    for nth in (1, 2, 3):
        run.lines.insert(run.index("epoch_stop", nth - 1), run.lines.pop(run.index("epoch_start", nth)))
    assert findings(run.write(tmp_path / "result_0.txt")) == []


def test_an_evaluation_may_end_in_the_next_epoch(run_log, tmp_path, findings):
    run = run_log(num_epochs=4)
    for nth in (0, 1, 2):
        first = run.index("eval_start", nth)
        block = run.lines[first : first + 3]
        del run.lines[first : first + 3]
        position = run.index("epoch_start", nth + 1) + 1
        run.lines[position:position] = block
        for line in block:
            line["time_ms"] = run.lines[position - 1]["time_ms"] + (900 if line["key"] != "eval_start" else 0)
    found = findings(run.write(tmp_path / "result_0.txt"))
    assert rules_of(found, ERRORS) == []


def test_equal_lines_of_several_nodes_are_a_warning_and_different_ones_an_error(run_log, tmp_path, findings):
    run = run_log(num_epochs=2)
    run.copy("submission_org")
    path = run.write(tmp_path / "result_0.txt")
    assert rules_of(findings(path)) == ["L118"]
    run.set("submission_org", "beta", nth=1)
    assert rules_of(findings(run.write(path)), ERRORS) == ["L105"]


def test_equal_seeds_are_found_though_one_is_text(valid_round, edit_log, findings):
    folder = valid_round / "acme/results/box/strong/cosmoflow"
    edit_log(folder / "result_3.txt", lambda run: run.set("seed", "1"))
    assert {"L116", "R106"} <= set(rules_of(findings(valid_round)))


def test_ranks_logged_as_nodes_are_a_warning_while_the_product_agrees(valid_round, edit_log, findings):
    folder = valid_round / "acme/results/box/strong/cosmoflow"
    for path in folder.iterdir():
        edit_log(path, lambda run: (run.set("number_of_nodes", 512), run.set("accelerators_per_node", 1)))
    assert rules_of(findings(valid_round)) == ["S113"]
    for path in folder.iterdir():
        edit_log(path, lambda run: run.set("number_of_nodes", 500))
    assert "S108" in rules_of(findings(valid_round), ERRORS)


def test_scripts_of_an_implementation_serve_all_systems(valid_round, findings):
    place = valid_round / "acme/benchmarks/cosmoflow"
    for name in ("README.md", "setup.sh", "init_datasets.sh", "run_and_time.sh"):
        (place / "box" / name).rename(place / "implementations" / "pytorch" / name)
    assert findings(valid_round) == []


def test_missing_scripts_are_one_warning_for_an_organization(valid_round, findings):
    for system in ("box", "cluster"):
        (valid_round / "acme/benchmarks/cosmoflow" / system / "setup.sh").unlink()
        (valid_round / "acme/benchmarks/cosmoflow" / system / f"{system}_pytorch.json").unlink()
    found = findings(valid_round)
    assert [(finding.rule, finding.severity) for finding in found] == [("P102", "warning"), ("P103", "warning")]
    assert "cosmoflow/box: setup.sh; cosmoflow/cluster: setup.sh" in found[0].message


def test_a_scaling_file_of_the_other_checker_is_known(valid_round, findings):
    file = valid_round / "acme/results/box/strong/cosmoflow/scaling.json"
    (ours,) = (one for one in score(reader.read(valid_round), ruleset.load("mlperf_hpc_2.0")) if one.system == "box")
    file.write_text(json.dumps({"scaling_factor": ours.scale_factor}))
    assert findings(valid_round) == []
    file.write_text(json.dumps({"scaling_factor": 1.05}))
    assert rules_of(findings(valid_round)) == ["C106"]
