# SPDX-License-Identifier: Apache-2.0
"""Ways to break a valid round of two organizations, and the rule that catches each; the untouched round is clean.

test_tamper_subtle.py has those that leave every single line of the logs plausible.
"""

import os
import shutil

import pytest

from tests.compliance.tampering import (
    BOX,
    DEEPCAM,
    INSTANCES,
    SCRIPTS,
    TIMED,
    Tamper,
    copied,
    copied_and_moved,
    description,
    drop_epoch,
    drop_evaluation,
    jitter,
    linked,
    log,
    logs,
    miss_target,
    moved,
    other_organization,
    shorten,
    stage_early,
    start_late,
    tree,
)

TAMPERINGS: dict[str, tuple[str, Tamper]] = {
    # The log itself
    "emptied log": ("L101", tree(lambda root: (root / TIMED / "result_3.txt").write_text(""))),
    "log without events": ("L101", tree(lambda root: (root / TIMED / "result_3.txt").write_text("epoch 1 done\n"))),
    "log cut in mid-line": ("L102", tree(lambda root: os.truncate(root / TIMED / "result_3.txt", 3000))),
    "line of garbage": ("L102", log(lambda run: run.lines.insert(9, ':::MLLOG {"key": '))),
    "event without a time": ("L102", log(lambda run: run.event("dropout").pop("time_ms"))),
    "time as text": ("L102", log(lambda run: run.event("dropout").update(time_ms="noon"))),
    "run_stop removed": ("L104", log(lambda run: run.drop("run_stop"))),
    "run_start removed": ("L104", log(lambda run: run.drop("run_start"))),
    "cache_clear removed": ("L104", log(lambda run: run.drop("cache_clear"))),
    "organization removed": ("L104", log(lambda run: run.drop("submission_org"))),
    "batch size removed": ("L104", log(lambda run: run.drop("global_batch_size"))),
    "nodes removed": ("L104", log(lambda run: run.drop("number_of_nodes"))),
    "two clocks": ("L105", log(lambda run: run.copy("run_start"))),
    "two batch sizes": ("L105", log(lambda run: run.copy("global_batch_size", value=1024))),
    "batch size as text": ("L106", log(lambda run: run.set("global_batch_size", "512 samples"))),
    "batch size NaN": ("L106", log(lambda run: run.set("global_batch_size", float("nan")))),
    "batch size negative": ("L106", log(lambda run: run.set("global_batch_size", -512))),
    "status unknown": ("L106", log(lambda run: run.set("submission_status", "rented"))),
    "division misspelt": ("L106", log(lambda run: run.set("submission_division", "close"))),
    "seed as text": ("L106", log(lambda run: run.set("seed", "lucky"))),
    "another benchmark's log": ("L107", log(lambda run: run.set("submission_benchmark", "deepcam"))),
    "event type unknown": ("L108", log(lambda run: run.event("dropout").update(event_type="INTERVAL_STOP"))),
    "stop as start": ("L109", log(lambda run: run.event("eval_stop").update(event_type="INTERVAL_START"))),
    "epoch_start removed": ("L110", log(lambda run: run.lines.pop(run.index("epoch_start", 5)))),
    "epoch_stop removed": ("L110", log(lambda run: run.lines.pop(run.index("epoch_stop", 5)))),
    "staging_stop removed": ("L110", log(lambda run: run.drop("staging_stop"))),
    "epoch without number": ("L111", log(lambda run: run.event("epoch_start", 5)["metadata"].clear())),
    "epoch number as text": ("L111", log(lambda run: run.event("epoch_start", 5)["metadata"].update(epoch_num="6"))),
    "epoch cut out": ("L112", log(lambda run: drop_epoch(run, 5))),
    "resumed at epoch 3": ("L112", log(lambda run: (drop_epoch(run, 0), drop_epoch(run, 0)))),
    "epoch twice": ("L112", log(lambda run: run.event("epoch_start", 5)["metadata"].update(epoch_num=5))),
    "stop of another epoch": ("L113", log(lambda run: run.event("epoch_stop", 5)["metadata"].update(epoch_num=9))),
    "placeholder left": ("L114", log(lambda run: run.set("submission_platform", "PLATFORM_PLACEHOLDER"))),
    # The clock
    "run_stop before run_start": ("T101", log(lambda run: run.event("run_stop").update(time_ms=1_600_000_000_000))),
    "init of 31 minutes": ("T102", log(lambda run: moved(run, "init_stop", 31 * 60))),
    "run_start inside init": ("T103", log(lambda run: run.move("run_start", "init_stop"))),
    "staging before the clock": ("T104", log(stage_early)),
    "staging duration embellished": (
        "T105",
        log(lambda run: run.event("staging_stop")["metadata"].update(staging_duration=4)),
    ),
    "last epochs moved back": ("T106", log(lambda run: moved(run, "epoch_start", -300, nth=20))),
    "run_stop moved back": ("T106", log(lambda run: moved(run, "run_stop", -120))),
    "run_start moved forward": (
        "T106",
        log(lambda run: run.event("run_start").update(time_ms=run.event("epoch_start", 3)["time_ms"])),
    ),
    "hyperparameter logged late": ("T107", log(lambda run: moved(run, "dropout", -7) or moved(run, "init_stop", 7))),
    "first epoch before the clock": ("T108", log(start_late)),
    "evaluation after the clock": (
        "T109",
        log(lambda run: run.lines.append(run.lines.pop(run.index("eval_error", 23)))),
    ),
    "runs at the same time": ("T110", log(lambda run: run.shift(-3_600_000))),
    "epoch in no time": ("T111", log(lambda run: moved(run, "eval_start", -9.5, nth=12))),
    "epoch with a pause": ("T111", log(lambda run: moved(run, "eval_start", 600, nth=12))),
    "caches dropped too late": ("T112", log(lambda run: run.move("cache_clear", "epoch_start"))),
    # Runs
    "run removed": ("R101", tree(lambda root: (root / TIMED / "result_9.txt").unlink())),
    "instance removed": ("R101", tree(lambda root: (root / INSTANCES / "result_9.txt").unlink())),
    "eleventh run": ("R102", copied_and_moved(f"{TIMED}/result_0.txt", f"{TIMED}/result_10.txt", 10**6)),
    "two runs missed the target": (
        "R103",
        lambda root, edit: [edit(root / TIMED / f"result_{index}.txt", miss_target) for index in (3, 4)],
    ),
    "one run missed the target": ("R104", log(miss_target)),
    "kept instance missed the target": ("R105", log(miss_target, folder=INSTANCES)),
    "seed of another run": ("R106", log(lambda run: run.set("seed", 1))),
    "seed of another instance": ("R106", log(lambda run: run.set("seed", 101), folder=INSTANCES)),
    "run left out of the numbering": (
        "R107",
        tree(lambda root: (root / TIMED / "result_3.txt").rename(root / TIMED / "result_20.txt")),
    ),
    "benchmark unknown": (
        "R108",
        tree(lambda root: (root / TIMED).rename(root / TIMED.replace("cosmoflow", "cosmoflw"))),
    ),
    "runs pruned from time to train": (
        "R110",
        tree(lambda root: shutil.copytree(root / INSTANCES / "pruned_results", root / TIMED / "pruned_results")),
    ),
    "time to train withheld": ("R111", tree(lambda root: shutil.rmtree(root / "acme/results/box"))),
    "folder in a result's place": (
        "R120",
        tree(lambda root: ((root / TIMED / "result_3.txt").unlink(), (root / TIMED / "result_3.txt").mkdir())),
    ),
    "results emptied": ("R120", tree(lambda root: [path.unlink() for path in (root / DEEPCAM).iterdir()])),
    "result renamed": (
        "R121",
        tree(lambda root: (root / TIMED / "result_3.txt").rename(root / TIMED / "result_3.log")),
    ),
    "folder of old runs": ("R121", tree(lambda root: (root / TIMED / "old_runs").mkdir())),
    "run replaced by a link": ("R122", tree(linked)),
    "result beside the benchmark's folder": ("R123", copied(f"{DEEPCAM}/result_0.txt", f"{DEEPCAM}/../result_0.txt")),
    "layout of v0.7": (
        "R124",
        tree(lambda root: (root / DEEPCAM).rename(root / DEEPCAM.replace("strong/", ""))),
    ),
    "run copied": ("R131", copied(f"{TIMED}/result_0.txt", f"{TIMED}/result_3.txt")),
    "run copied an hour later": ("R131", copied_and_moved(f"{TIMED}/result_0.txt", f"{TIMED}/result_3.txt", 3601)),
    "run copied with jitter": ("R135", jitter),
    "pruned instance kept as well": (
        "R131",
        copied(f"{INSTANCES}/pruned_results/result_10.txt", f"{INSTANCES}/result_9.txt"),
    ),
    "run of another system": (
        "R132",
        tree(lambda root: shutil.copytree(root / "acme/results/box", root / "acme/results/box2")),
    ),
    "instance as a timed run": ("R133", copied(f"{INSTANCES}/result_4.txt", f"{TIMED}/result_4.txt")),
    "run of another organization": ("R134", other_organization),
    # Quality
    "success above the target": ("Q101", log(lambda run: run.set("eval_error", 0.1246, 23))),
    "success without evaluations": ("Q101", log(lambda run: run.drop("eval_error"))),
    "aborted on the target": ("Q102", log(lambda run: run.event("run_stop")["metadata"].update(status="aborted"))),
    "status removed": ("Q115", log(lambda run: run.event("run_stop")["metadata"].clear())),
    "status invented": ("Q104", log(lambda run: run.event("run_stop")["metadata"].update(status="great"))),
    "negative error": ("Q105", log(lambda run: run.set("eval_error", -0.1, 23))),
    "NaN error": ("Q105", log(lambda run: run.set("eval_error", float("nan"), 5))),
    "error as text": ("Q105", log(lambda run: run.set("eval_error", "0.12", 5))),
    "accuracy in percent": ("Q105", log(lambda run: run.set("eval_accuracy", 82.3, 11), folder=DEEPCAM)),
    "quality under another key": (
        "Q106",
        log(lambda run: [run.lines[index].update(key="mae") for index in run.indices("eval_error")]),
    ),
    "evaluation of another epoch": (
        "Q107",
        log(lambda run: run.event("eval_error", 5)["metadata"].update(epoch_num=3)),
    ),
    "evaluations left out": ("Q108", log(lambda run: [drop_evaluation(run, 2) for _ in range(3)])),
    "training after the target": ("Q109", log(lambda run: run.set("eval_error", 0.1235, 12))),
    "evaluation without a value": ("Q110", log(lambda run: run.copy("eval_stop", 5))),
    "synthetic data": ("Q111", log(lambda run: run.log("data_is_synthetic", True))),
    # Hyperparameters
    "fewer training samples": ("H101", logs(lambda run: run.set("train_samples", 262_144))),
    "fewer evaluation samples": ("H101", logs(lambda run: run.set("eval_samples", 1024))),
    "optimizer of Open": ("H102", logs(lambda run: run.set("opt_name", "lamb"))),
    "epsilon changed": ("H102", logs(lambda run: run.set("opt_eps", 1e-8), folder=DEEPCAM)),
    "bias correction off": ("H102", logs(lambda run: run.set("opt_bias_correction", False), folder=DEEPCAM)),
    "learning rate not logged": ("H103", logs(lambda run: run.drop("opt_base_learning_rate"))),
    "milestones not logged": ("H103", logs(lambda run: run.drop("scheduler_milestones"), folder=DEEPCAM)),
    "learning rate of one run": ("H104", log(lambda run: run.set("opt_base_learning_rate", 0.009))),
    "batch of one run": ("H104", log(lambda run: run.set("global_batch_size", 1024))),
    "learning rate logged twice": ("H105", log(lambda run: run.copy("opt_base_learning_rate", value=0.016))),
    "two seeds": ("H105", log(lambda run: run.copy("seed", value=99))),
    "batch that does not divide": ("H106", logs(lambda run: run.set("global_batch_size", 500))),
    "more ranks than accelerators": ("H107", logs(lambda run: run.set("number_of_ranks", 1024))),
    "optimizer key of Open": ("H108", logs(lambda run: run.copy("dropout", key="opt_lars_trust_coefficient"))),
    # Systems
    "system not described": ("S101", tree(lambda root: (root / BOX).unlink())),
    "description broken": ("S102", tree(lambda root: (root / BOX).write_text('{"submitter": "acme",}'))),
    "description incomplete": ("S112", description(lambda values: values.pop("cooling"))),
    "framework not said": ("S104", description(lambda values: values.update(framework=""))),
    "accelerator not said": ("S104", description(lambda values: values.update(accelerator_model_name=""))),
    "nodes in words": ("S105", description(lambda values: values.update(number_of_nodes="sixty-four"))),
    "division invented": ("S105", description(lambda values: values.update(division="half-open"))),
    "open described, closed logged": ("S106", description(lambda values: values.update(division="open"))),
    "cloud described, onprem logged": ("S107", description(lambda values: values.update(status="cloud"))),
    "fewer nodes described": ("S108", description(lambda values: values.update(number_of_nodes=32))),
    "other accelerators described": ("S108", description(lambda values: values.update(accelerators_per_node="4"))),
    "described without results": ("S109", copied(BOX, "acme/systems/spare.json")),
    "another organization's name": ("S110", logs(lambda run: run.set("submission_org", "zeta"))),
    "more instances than accelerators": (
        "S111",
        description(lambda values: values.update(number_of_nodes=640), "acme/systems/cluster.json"),
    ),
    # Convergence and package
    "converges too soon": ("C101", logs(shorten)),
    "code withheld": ("P101", tree(lambda root: shutil.rmtree(root / "acme/benchmarks"))),
    "script withheld": ("P102", tree(lambda root: (root / SCRIPTS / "run_and_time.sh").unlink())),
    "script emptied": ("P102", tree(lambda root: (root / SCRIPTS / "run_and_time.sh").write_text(""))),
    "implementation not named": ("P103", tree(lambda root: (root / SCRIPTS / "box_pytorch.json").unlink())),
    "implementation withheld": (
        "P103",
        tree(lambda root: shutil.rmtree(root / "acme/benchmarks/cosmoflow/implementations")),
    ),
    "implementation file broken": ("P104", tree(lambda root: (root / SCRIPTS / "box_pytorch.json").write_text("{"))),
    "power of another run": ("P105", tree(lambda root: (root / TIMED / "power/result_77").mkdir(parents=True))),
    "power of one node": ("P106", tree(lambda root: (root / TIMED / "power/result_3").mkdir(parents=True))),
}


def test_the_untouched_round_is_clean(valid_round, findings):
    assert findings(valid_round) == []


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_caught(name, valid_round, findings, edit_log):
    rule, tamper = TAMPERINGS[name]
    tamper(valid_round, edit_log)
    assert rule in {finding.rule for finding in findings(valid_round)}
