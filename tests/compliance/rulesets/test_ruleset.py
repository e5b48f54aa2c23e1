# SPDX-License-Identifier: Apache-2.0
"""Rule sets: what the four rounds differ in, where each value comes from, and what a wrong name is told."""

import pytest

from compliance.rulesets import ruleset
from compliance.rulesets.ruleset import RuleSetError, load, names

ROUNDS = ("0.7", "1.0", "2.0", "3.0")


def hpc(version):
    return load(f"mlperf_hpc_{version}")


def test_every_file_of_rules_can_be_named_but_the_bases():
    assert {"mlperf_hpc_0.7", "mlperf_hpc_1.0", "mlperf_hpc_2.0", "mlperf_hpc_3.0", "mlperf_hpc_demo"} <= set(names())
    assert not {"base", "reference_convergence"} & set(names())


@pytest.mark.parametrize("name", names())
def test_every_rule_set_resolves_with_its_origins(name):
    rules = load(name)
    assert rules.name == name
    for benchmark in rules.values["benchmarks"]:
        table = rules.benchmark(benchmark)
        assert table.target.threshold > 0
        assert table.possible.accepts(table.target.threshold)
        assert table.num_runs >= 5
        for division in rules.values["divisions"]:
            assert all(constraint.describe() for constraint in table.hyperparameters(division).values())
        assert rules.origin("benchmarks", benchmark, "target").endswith(".toml")


@pytest.mark.parametrize(
    ("version", "benchmarks"),
    [
        ("0.7", {"cosmoflow", "deepcam"}),
        ("1.0", {"cosmoflow", "deepcam", "oc20"}),
        ("2.0", {"cosmoflow", "deepcam", "oc20"}),
        ("3.0", {"cosmoflow", "deepcam", "oc20", "openfold"}),
    ],
)
def test_benchmarks_of_the_rounds(version, benchmarks):
    assert set(hpc(version).values["benchmarks"]) == benchmarks


@pytest.mark.parametrize(
    ("benchmark", "key", "target", "num_runs"),
    [
        ("cosmoflow", "eval_error", 0.124, 10),
        ("deepcam", "eval_accuracy", 0.82, 5),
        ("oc20", "eval_error", 0.036, 5),
        ("openfold", "eval_accuracy", 0.8, 10),
    ],
)
def test_targets_and_run_counts(benchmark, key, target, num_runs):
    table = hpc("3.0").benchmark(benchmark)
    assert (table.quality_key, table.target.threshold, table.num_runs) == (key, target, num_runs)


def test_staging_is_timed_until_v20():
    assert [hpc(version).values["clock"]["staging"] for version in ROUNDS] == ["timed", "timed", "timed", "free"]
    assert hpc("2.0").origin("clock", "staging") == "base.toml"
    assert hpc("3.0").origin("clock", "staging") == "mlperf_hpc_3.0.toml"


def test_initialisation_limits_are_inherited():
    for version in ROUNDS:
        assert hpc(version).values["clock"]["init_limit_minutes"] == {"closed": 30, "open": 240}
        assert hpc(version).origin("clock", "init_limit_minutes", "closed") == "mlperf_hpc_0.7.toml"


def test_throughput_came_with_v10_and_so_did_the_larger_data_set():
    assert ["throughput" in hpc(version).values["metrics"] for version in ROUNDS] == [False, True, True, True]
    samples = [hpc(version).benchmark("cosmoflow").keys()["train_samples"].equals for version in ROUNDS]
    assert samples == [262144, 524288, 524288, 524288]


def test_a_removed_key_is_gone_and_the_others_stay():
    assert "opt_base_learning_rate" in hpc("0.7").benchmark("deepcam").hyperparameters("closed")
    later = hpc("1.0").benchmark("deepcam").hyperparameters("closed")
    assert "opt_base_learning_rate" not in later
    assert later["opt_eps"].equals == 1e-6
    assert later["opt_name"].one_of == ("Adam", "AdamW", "LAMB")


def test_open_sets_no_hyperparameters():
    assert hpc("2.0").benchmark("cosmoflow").hyperparameters("open") == {}


def test_the_demo_replaces_size_and_target_alone():
    demo, parent = load("mlperf_hpc_demo"), hpc("3.0")
    ours = {path for path, file in demo.origins.items() if file == "mlperf_hpc_demo.toml"}
    replaced = [("target",), ("keys", "train_samples"), ("keys", "eval_samples")]
    assert {path for path in ours if path[0] == "benchmarks"} == {
        ("benchmarks", name, *path) for name in ("cosmoflow", "deepcam") for path in replaced
    }
    for name in ("cosmoflow", "deepcam"):
        assert demo.benchmark(name).hyperparameters("closed") == parent.benchmark(name).hyperparameters("closed")


@pytest.mark.parametrize(
    ("name", "told"),
    [("mlperf_hpc_2", "did you mean 'mlperf_hpc_2.0'?"), ("base", None), ("../base", "known: "), ("zzz", "known: ")],
)
def test_a_wrong_name_is_told_the_nearest(name, told):
    if told is None:
        assert load(name).name == "base"
        return
    with pytest.raises(RuleSetError) as error:
        load(name)
    assert told in str(error.value)


def test_a_wrong_benchmark_is_told_the_nearest():
    with pytest.raises(
        RuleSetError, match=r"mlperf_hpc_2\.0\.toml: no benchmark 'cosmoflw'; did you mean 'cosmoflow'\?"
    ):
        hpc("2.0").benchmark("cosmoflw")


def test_merging_merges_tables_and_replaces_constraints():
    origins = {("a", "x"): "parent.toml", ("a", "y"): "parent.toml"}
    parent = {"a": {"x": {"at_least": 1, "below": 5}, "y": {"equals": 3}}}
    child = {"a": {"x": {"above": 0}, "y": {"removed": True}, "z": 7}}
    merged = ruleset._merge(parent, child, origins, "child.toml")
    assert merged == {"a": {"x": {"above": 0}, "z": 7}}
    assert origins == {("a", "x"): "child.toml", ("a", "z"): "child.toml"}
