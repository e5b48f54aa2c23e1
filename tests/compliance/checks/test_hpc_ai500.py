# SPDX-License-Identifier: Apache-2.0
"""A synthetic HPC AI500 V2.0 submission that passes check and is scored, and what this suite refuses."""

import dataclasses
import json
from pathlib import Path

import pytest

from compliance.checks import check
from compliance.checks.registry import Finding
from compliance.rulesets import ruleset
from compliance.scoring.score import Score, score
from compliance.submissions import reader

RULES = ruleset.load("hpc_ai500_2.0")
START_S = 1_600_000_000
RUN_MINUTES, EPOCH_SECONDS, EVALUATION_SECONDS = 90, 54, 6
NUM_RANKS, FLOPS_PER_IMAGE, TRAIN_SAMPLES = 64, 24.3e9, 1281167
SPEED = TRAIN_SAMPLES / EPOCH_SECONDS / NUM_RANKS
TARGET, EXPONENT = 0.763, 5

HEAD = {
    "submission_benchmark": "imagenet_resnet",
    "submission_org": "acme",
    "submission_division": "system",
    "submission_status": "onprem",
    "submission_platform": "big",
    "cache_clear": True,
    "init_start": None,
    "global_batch_size": 8192,
    "train_samples": TRAIN_SAMPLES,
    "eval_samples": 50000,
    "number_of_nodes": 8,
    "accelerators_per_node": 8,
    "number_of_ranks": NUM_RANKS,
    "opt_name": "sgd",
    "opt_base_learning_rate": 8.192,
    "opt_learning_rate_schedule": "cosine",
    "opt_learning_rate_warmup_epochs": 8,
    "opt_momentum": 0.875,
    "opt_weight_decay": 1 / 32768,
    "opt_weight_decay_on_batch_norm": True,
    "label_smoothing": 0.1,
    "batch_norm_decay": 0.9,
    "batch_norm_epsilon": 1e-5,
    "precision": "bf16",
    "flops_per_image": FLOPS_PER_IMAGE,
}
LAYERS = {name: f"what {name} is" for name in RULES.values["layers"]} | {"ai_framework": "PyTorch 2.13"}
SYSTEM = dict.fromkeys(RULES.values["system_description"]["keys"], "described") | {
    "submitter": "acme",
    "system_name": "big",
    "division": "system",
    "status": "onprem",
    "number_of_nodes": "8",
    "accelerators_per_node": "8",
}


def _log(
    number: int,
    *,
    num_epochs: int = 90,
    quality: float = 0.765,
    speed: float | None = SPEED,
    joules: float | None = None,
    gap_s: float = 0,
    evaluated: bool = True,
    reached: int = 90,
    **changes,
) -> str:
    """Run `number`, in which each epoch takes a minute; `changes` replace values of the head, None removes one."""
    now_s = START_S + 100 * 60 * number
    lines = []

    def add(key, value=None, kind="POINT_IN_TIME", **metadata):
        event = {"key": key, "value": value, "time_ms": int(now_s * 1000), "event_type": kind, "metadata": metadata}
        lines.append(":::MLLOG " + json.dumps(event))

    for key, value in (HEAD | {"seed": number + 1} | changes).items():
        if value is not None or key == "init_start":
            add(key, value, "INTERVAL_START" if key == "init_start" else "POINT_IN_TIME")
    add("init_stop", kind="INTERVAL_END")
    add("run_start", kind="INTERVAL_START")
    now_s += gap_s
    for epoch in range(1, num_epochs + 1):
        last = epoch == num_epochs
        add("epoch_start", kind="INTERVAL_START", epoch_num=epoch)
        now_s += EPOCH_SECONDS
        if last and speed is not None:
            add("images_per_second_per_rank", speed)
        if not last or evaluated:
            add("eval_start", kind="INTERVAL_START", epoch_num=epoch)
            now_s += EVALUATION_SECONDS
            value = quality if last else 0.764 if epoch >= reached else 0.6 + epoch * 1e-3
            add("eval_accuracy", value + number * 1e-6, epoch_num=epoch)
            add("eval_stop", kind="INTERVAL_END", epoch_num=epoch)
        add("epoch_stop", kind="INTERVAL_END", epoch_num=epoch)
    if joules is not None:
        add("energy_joules", joules)
    add("run_stop", kind="INTERVAL_END", status="success")
    return "\n".join(lines) + "\n"


def _write(
    root: Path, runs=({},) * 10, *, level: str = "system", layers=LAYERS, system: str = "big"
) -> reader.Submission:
    """An organization's tree with one entry; each of `runs` holds keyword arguments of _log."""
    folder = root / "acme/results" / system / "strong/imagenet_resnet"
    folder.mkdir(parents=True)
    for number, run in enumerate(runs):
        text = _log(number, **{"submission_division": level} | run)
        (folder / f"result_{number}.txt").write_text(text)
    (root / "acme/systems").mkdir(exist_ok=True)
    (root / f"acme/systems/{system}.json").write_text(json.dumps(SYSTEM | {"division": level}))
    declared = "".join(f"{name} = {json.dumps(text)}\n" for name, text in layers.items())
    (root / "acme/submission.toml").write_text(f'rules = "hpc_ai500_2.0"\n[layers]\n{declared}')
    return reader.read(root / "acme")


def _findings(read, severity: str = "error", rules: str = "hpc_ai500_2.0") -> list[Finding]:
    return [found for found in check(read, ruleset.load(rules)) if found.severity == severity]


def _ids(read, severity: str = "error") -> set[str]:
    return {found.rule for found in _findings(read, severity)}


def _score(read) -> Score:
    (only,) = score(read, RULES)
    return only


# --- the valid submission


@pytest.mark.parametrize("level", ["hardware", "system", "free"])
def test_valid_submission_passes(tmp_path, level):
    read = _write(tmp_path, level=level)
    assert _findings(read) == []
    assert _ids(read, "warning") <= {"P101"}  # no code beside the results
    assert read.entries[0].division == level


def test_valid_submission_is_scored(tmp_path):
    found = _score(_write(tmp_path))
    operations = SPEED * NUM_RANKS * FLOPS_PER_IMAGE
    assert (found.metric, found.scored, found.runs, found.unconverged) == ("vflops", True, 10, 0)
    assert found.minutes == RUN_MINUTES
    assert found.vflops.flops == pytest.approx(operations)
    # the mean quality of runs 1 to 8, which remain
    assert found.vflops.vflops == pytest.approx(operations * ((0.765 + 4.5e-6) / TARGET) ** EXPONENT, rel=1e-9)
    assert found.dropped == ("result_9.txt", "result_0.txt")
    assert found.vflops.time_to_quality_minutes == RUN_MINUTES
    assert found.vflops.variation["flops"] == pytest.approx(0, abs=1e-12)
    assert found.vflops.rank == 1


def test_time_to_quality_is_the_first_evaluation_on_target(tmp_path):
    found = _score(_write(tmp_path, [{"reached": 80}] * 10))
    assert found.vflops.time_to_quality_minutes == 80
    assert found.minutes == found.vflops.minutes == RUN_MINUTES


def test_achieved_quality_is_the_last_epochs_not_the_best(tmp_path):
    found = _score(_write(tmp_path, [{"reached": 80, "quality": 0.75}] * 10))
    assert found.vflops.quality == pytest.approx(0.75, abs=1e-5)
    assert found.vflops.vflops < found.vflops.flops


def test_energy_gives_figures_per_watt(tmp_path):
    joules = 20_000 * RUN_MINUTES * 60  # 20 kW
    found = _score(_write(tmp_path, [{"joules": joules}] * 10)).vflops
    assert json.loads(json.dumps(dataclasses.asdict(found)))["trials"][0]["flops_per_watt"] > 0
    assert found.flops_per_watt == pytest.approx(found.flops / 20_000)
    assert found.vflops_per_watt == pytest.approx(found.vflops / 20_000)


def test_speed_may_be_logged_once_an_epoch(tmp_path):
    read = _write(tmp_path)
    for log in read.entries[0].runs:
        lines = log.path.read_text().splitlines()
        speed = next(line for line in lines if "images_per_second_per_rank" in line)
        slower = speed.replace(str(SPEED), str(SPEED / 3))
        at = next(number for number, line in enumerate(lines) if "eval_start" in line)
        log.path.write_text("\n".join([*lines[:at], slower, *lines[at:]]) + "\n")
    read = reader.read(tmp_path / "acme")
    assert _score(read).vflops.flops == pytest.approx(2 / (1 + 3) * SPEED * NUM_RANKS * FLOPS_PER_IMAGE)


def test_entries_are_ranked_within_their_level(tmp_path):
    _write(tmp_path, [{"speed": SPEED / 2}] * 10, system="slow")
    _write(tmp_path, system="fast")
    _write(tmp_path, [{"speed": SPEED / 4}] * 10, system="freed", level="free")
    found = {one.system: one.vflops.rank for one in score(reader.read(tmp_path / "acme"), RULES)}
    assert found == {"fast": 1, "slow": 2, "freed": 1}


# --- what the suite refuses


def _with_one(**run) -> list[dict]:
    return [{}] * 9 + [run]


@pytest.mark.parametrize("num_epochs", [89, 91])
def test_other_number_of_epochs_is_refused(tmp_path, num_epochs):
    read = _write(tmp_path, _with_one(num_epochs=num_epochs))
    assert _ids(read) == {"Q501", "R501"}
    found = _score(read)
    assert (found.scored, found.minutes, found.unconverged) == (False, None, 1)


def test_last_epoch_without_evaluation_is_refused(tmp_path):
    assert _ids(_write(tmp_path, _with_one(evaluated=False))) == {"Q502", "R501"}


def test_eleventh_run_makes_up_for_an_incomplete_one(tmp_path):
    found = _score(_write(tmp_path, [{}] * 10 + [{"num_epochs": 40}]))
    assert (found.scored, found.runs, found.unconverged) == (True, 11, 1)


def test_target_itself_is_not_penalised(tmp_path):
    assert "Q503" not in _ids(_write(tmp_path, [{"quality": TARGET}] * 10), "warning")


def test_quality_below_target_is_penalised_not_refused(tmp_path):
    read = _write(tmp_path, [{"quality": 0.7496}] * 10)
    assert _findings(read) == []
    (first, *_) = (found for found in _findings(read, "warning") if found.rule == "Q503")
    assert "0.9152 x FLOPS" in first.message
    found = _score(read)
    assert found.scored
    assert found.vflops.vflops == pytest.approx(found.vflops.flops * (0.7496 / TARGET) ** 5, rel=1e-4)
    assert found.vflops.time_to_quality_minutes is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("opt_momentum", 0.9),
        ("opt_weight_decay", 5e-5),
        ("opt_weight_decay_on_batch_norm", False),
        ("label_smoothing", 0.0),
        ("precision", "fp8"),
        ("flops_per_image", 30e9),
    ],
)
@pytest.mark.parametrize("level", ["hardware", "system"])
def test_recipe_is_fixed_at_hardware_and_system_level(tmp_path, level, key, value):
    found = _findings(_write(tmp_path, [{key: value}] * 10, level=level))
    assert {one.rule for one in found} == {"H102"}
    assert key in found[0].message
    assert "hpc_ai500_2.0.toml" in found[0].expected


def test_recipe_is_free_at_free_level(tmp_path):
    runs = [{"opt_momentum": 0.9, "opt_weight_decay_on_batch_norm": False, "precision": "fp8"}] * 10
    assert _findings(_write(tmp_path, runs, level="free")) == []


@pytest.mark.parametrize(
    "changes", [{"global_batch_size": 32768}, {"opt_name": "lars"}, {"opt_base_learning_rate": 20}]
)
def test_batch_and_learning_rate_policy_are_free(tmp_path, changes):
    assert _findings(_write(tmp_path, [changes] * 10, level="hardware")) == []


@pytest.mark.parametrize("key", ["images_per_second_per_rank", "number_of_ranks", "flops_per_image"])
def test_each_factor_of_flops_is_logged(tmp_path, key):
    run = {"speed": None} if key == "images_per_second_per_rank" else {key: None}
    read = _write(tmp_path, [run] * 10)
    assert "L104" in _ids(read)
    assert (_score(read).scored, _score(read).vflops) == (False, None)


@pytest.mark.parametrize(("factor", "refused"), [(1.04, False), (1.06, True)])
def test_speed_beyond_what_the_epochs_allow_is_refused(tmp_path, factor, refused):
    found = _findings(_write(tmp_path, [{"speed": SPEED * factor}] * 10))
    assert {one.rule for one in found} == ({"T502"} if refused else set())


@pytest.mark.parametrize(("gap_s", "warned"), [(60, False), (61, True)])
def test_clock_that_starts_long_before_the_first_epoch_is_said(tmp_path, gap_s, warned):
    assert ("T501" in _ids(_write(tmp_path, _with_one(gap_s=gap_s)), "warning")) == warned


def test_energy_in_some_runs_only_is_said(tmp_path):
    read = _write(tmp_path, _with_one(joules=1e8))
    assert "R502" in _ids(read, "warning")
    assert _score(read).vflops.flops_per_watt is None


def test_level_of_another_suite_is_refused(tmp_path):
    assert {"L106", "S105"} <= _ids(_write(tmp_path, level="closed"))


@pytest.mark.parametrize("level", ["hardware", "system", "free"])
def test_equivalence_is_left_to_the_reviewer(tmp_path, level):
    (found,) = (one for one in _findings(_write(tmp_path, level=level), "manual") if one.rule == "H501")
    assert found.message.startswith(f"{level} level")
    assert ("ai_framework" in found.message) == (level == "hardware")
    assert "problem_domain" in found.message


# --- the nine layers


@pytest.mark.parametrize("name", LAYERS)
def test_each_of_the_nine_layers_is_declared(tmp_path, name):
    layers = {key: text for key, text in LAYERS.items() if key != name}
    found = _findings(_write(tmp_path, layers=layers))
    assert [one.rule for one in found] == ["S501"]
    assert f"{name} is not declared" in found[0].message


def test_unknown_layer_names_the_nearest(tmp_path):
    (found,) = _findings(_write(tmp_path, layers=LAYERS | {"framework": "PyTorch"}))
    assert (found.rule, "'ai_framework'" in found.message) == ("S501", True)


def test_another_framework_needs_the_system_level(tmp_path):
    layers = LAYERS | {"ai_framework": "TensorFlow 2.15"}
    assert _findings(_write(tmp_path / "system", layers=layers)) == []
    assert _ids(_write(tmp_path / "hardware", layers=layers, level="hardware")) == {"S502"}


def test_submission_without_layers_lacks_all_nine(tmp_path):
    _write(tmp_path)
    (tmp_path / "acme/submission.toml").unlink()
    assert [one.rule for one in _findings(reader.read(tmp_path / "acme"))] == ["S501"] * 9


def test_layers_are_not_asked_of_a_result_folder(tmp_path):
    _write(tmp_path)
    read = reader.read(tmp_path / "acme/results/big/strong/imagenet_resnet")
    assert "S501" not in _ids(read)


# --- other suites and the demo


def test_mlperf_logs_see_none_of_these_rules(tmp_path):
    read = _write(tmp_path, [{"num_epochs": 40, "speed": None}] * 10)
    found = {one.rule for one in check(read, ruleset.load("mlperf_hpc_3.0"))}
    assert not {rule for rule in found if rule[1] == "5"}


def test_demo_rules_reject_what_the_full_rules_accept_and_say_why(tmp_path):
    found = _findings(_write(tmp_path), rules="hpc_ai500_demo")
    assert {one.rule for one in found} == {"Q501", "R501", "H101", "H102", "H103"}
    assert any("hpc_ai500_demo.toml" in one.expected for one in found)
