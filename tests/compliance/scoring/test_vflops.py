# SPDX-License-Identifier: Apache-2.0
"""VFLOPS against the arithmetic of the HPC AI500 V2.0 report's own tables."""

import statistics

import pytest

from compliance.rulesets import ruleset
from compliance.scoring.vflops import Trial, flops, quality_factor, summarize, variation

RULES = ruleset.load("hpc_ai500_2.0")
IMAGENET = RULES.benchmark("imagenet_resnet")
EWA = RULES.benchmark("ewa_fasterrcnn")
PEAK_TFLOPS = 8 * 15  # section 8.3.1: eight V100, each with 15 TFLOPS in single precision


def _trial(name: str, vflops: float, **figures) -> Trial:
    plain = {"minutes": 10.0, "time_to_quality_minutes": 8.0, "quality": 0.763, "flops": vflops}
    return Trial(**plain | {"flops_per_watt": None, "vflops_per_watt": None} | figures, name=name, vflops=vflops)


# --- the report's arithmetic


@pytest.mark.parametrize(("gain", "ratio"), [(0.0045, "1.03"), (0.0138, "1.10")])
def test_table_8_ratios_follow_from_accuracy_gains(gain, ratio):
    after = 0.7634  # figure 7b, batch 8192
    exponent = IMAGENET.values["vflops_exponent"]
    target = IMAGENET.target.threshold
    without = quality_factor(after - gain, target, exponent)
    assert f"{quality_factor(after, target, exponent) / without:.2f}" == ratio


def test_peak_is_120_tflops():
    assert PEAK_TFLOPS == 120


@pytest.mark.parametrize(
    ("images_per_second", "gflop_per_image", "attained_tflops", "percent"),
    [(2624, 23, 58, 48), (5734, 23, 126, 105), (46, 691, 31, 26)],
    ids=["image classification, FP32", "image classification, mixed", "extreme weather, FP32"],
)
def test_table_11(images_per_second, gflop_per_image, attained_tflops, percent):
    assert round(100 * attained_tflops / PEAK_TFLOPS) == percent
    # The table rounds GFLOP an image to whole numbers, so that the product is a few percent off what it calls attained.
    product = flops(images_per_second / 8, 8, gflop_per_image * 1e9) / 1e12
    assert product == pytest.approx(attained_tflops, rel=0.05)


def test_mixed_precision_speedup_of_section_8():
    assert pytest.approx(2.16, abs=0.03) == 5734 / 2624


def test_ewa_is_more_sensitive_to_quality():
    assert (IMAGENET.values["vflops_exponent"], EWA.values["vflops_exponent"]) == (5, 10)
    assert quality_factor(0.9 * 0.35, 0.35, 10) == pytest.approx(0.9**10)


@pytest.mark.parametrize(("achieved", "factor"), [(0.763, 1.0), (0.763 * 1.01, 1.01**5), (0.0, 0.0)])
def test_target_is_neutral_above_rewards_below_penalises(achieved, factor):
    assert quality_factor(achieved, 0.763, 5) == pytest.approx(factor)


# --- the fixed facts


def test_rules_hold_the_reports_facts():
    assert (IMAGENET.num_epochs, IMAGENET.num_runs, IMAGENET.target.threshold) == (90, 10, 0.763)
    assert (EWA.num_epochs, EWA.num_runs, EWA.target.threshold) == (50, 5, 0.35)
    assert [layer["number"] for layer in RULES.values["layers"].values()] == list(range(1, 10))
    for level, layers in {"hardware": 4, "system": 5, "free": 8}.items():
        assert RULES.values["divisions"][level]["layers_under_test"] == list(range(1, layers + 1))


@pytest.mark.parametrize("level", ["hardware", "system"])
def test_recipe_is_fixed_below_the_free_level(level):
    recipe = IMAGENET.hyperparameters(level)
    assert recipe["opt_momentum"].accepts(0.875)
    assert not recipe["opt_momentum"].accepts(0.9)
    assert recipe["opt_weight_decay"].accepts(1 / 32768)
    assert not recipe["opt_weight_decay_on_batch_norm"].accepts(False)
    assert recipe["opt_base_learning_rate"].accepts(8.192)
    assert IMAGENET.hyperparameters("free") == {}


def test_hardware_and_system_differ_in_the_framework_alone():
    for benchmark in (IMAGENET, EWA):
        assert benchmark.hyperparameters("hardware") == benchmark.hyperparameters("system")


def test_demo_replaces_sizes_epochs_and_targets_only():
    demo = ruleset.load("hpc_ai500_demo")
    assert demo.values["synthetic"] is True
    own = {path for path in demo.origins if demo.origin(*path) == "hpc_ai500_demo.toml"}
    benchmarks = {path for path in own if path[0] == "benchmarks"}
    networks = {path for path in benchmarks if path[2] in ("hardware", "system")}  # how small the network is
    assert {path[-1] for path in benchmarks - networks} == {"num_epochs", "target", "train_samples", "eval_samples"}
    assert not {path[-1] for path in networks if path[-1].startswith("opt_")}
    assert {path for path in own if path[0] != "benchmarks"} == {("title",), ("synthetic",)}


# --- one entry


def test_highest_and_lowest_are_dropped_and_the_rest_averaged():
    found = summarize([_trial("a", 5.0), _trial("b", 1.0), _trial("c", 2.0), _trial("d", 3.0)])
    assert (found.vflops, found.dropped) == (2.5, ("a", "b"))


def test_variation_is_over_all_trials():
    values = [5.0, 1.0, 2.0, 3.0]
    found = summarize([_trial(str(value), value) for value in values])
    assert found.variation["vflops"] == pytest.approx(statistics.stdev(values) / statistics.mean(values))
    assert found.variation["minutes"] == 0


def test_no_energy_means_no_figure_per_watt():
    found = summarize([_trial(str(value), value) for value in (1.0, 2.0, 3.0)])
    assert (found.flops_per_watt, found.vflops_per_watt, found.variation["vflops_per_watt"]) == (None, None, None)


def test_energy_missing_in_a_kept_trial_means_no_figure_per_watt():
    trials = [_trial(str(value), value, flops_per_watt=value / 100) for value in (1.0, 2.0, 4.0)]
    assert summarize(trials).flops_per_watt == 0.02
    trials.append(_trial("without", 3.0))
    assert summarize(trials).flops_per_watt is None


def test_target_missed_in_a_kept_trial_means_no_time_to_quality():
    trials = [_trial("a", 1.0), _trial("b", 2.0, time_to_quality_minutes=None), _trial("c", 3.0)]
    assert summarize(trials).time_to_quality_minutes is None


@pytest.mark.parametrize("num_trials", [0, 1, 2])
def test_too_few_trials_have_no_mean(num_trials):
    assert summarize([_trial(str(number), 1.0) for number in range(num_trials)]) is None


@pytest.mark.parametrize("values", [[], [1.0], [1.0, None], [0.0, 0.0]])
def test_variation_that_is_none(values):
    assert variation(values) is None
