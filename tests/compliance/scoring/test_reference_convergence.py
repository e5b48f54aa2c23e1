# SPDX-License-Identifier: Apache-2.0
"""Reference convergence against scipy, against the public checker's points, and by hand."""

import json
import statistics
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance import mllog
from compliance.checks import check, rules_for
from compliance.rulesets import ruleset
from compliance.scoring.convergence_comparison import Comparison, compare, epochs_to_converge
from compliance.scoring.reference_convergence import (
    Point,
    interpolate,
    least_acceptable_mean,
    point_of,
    prune,
    reference_at,
    t_quantile,
)
from compliance.submissions import reader

stats = pytest.importorskip("scipy.stats", reason="scipy is of the extra [test]")

START_MS = 1_600_000_000_000
OC20 = {
    256: [20, 18, 20, 20, 22, 18, 19, 19, 21, 21],
    1024: [23, 25, 22, 25, 25, 25, 25, 24, 23, 25],
    2048: [33, 32, 33, 33, 33, 34, 33, 33, 30, 33],
}


def _point(batch: float, mean: float, deviation: float = 1.0, num_counts: int = 8) -> Point:
    return Point(global_batch_size=batch, mean=mean, deviation=deviation, num_counts=num_counts)


def _batches(points) -> list[float]:
    return [point.global_batch_size for point in points]


# --- Student's t


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 17, 24, 101, 1000])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.9, 0.95, 0.975, 0.999])
def test_quantile_is_scipys(probability, degrees):
    assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9, abs=1e-9)


# --- one point


def test_point_drops_extremes_from_mean_not_from_deviation():
    point = point_of(2048, OC20[2048])
    assert point.mean == 263 / 8
    assert point.deviation == pytest.approx(statistics.pstdev(OC20[2048]))
    assert point.num_counts == 8


@given(
    st.floats(5, 1e5),
    st.floats(0.01, 3),
    st.integers(3, 40),
    st.sampled_from([5, 10]),
)
@settings(deadline=None, max_examples=50)
def test_least_acceptable_mean_has_a_p_of_five_percent(mean, deviation, num_counts, num_runs):
    least = least_acceptable_mean(_point(64, mean, deviation, num_counts), num_runs)
    if least > 0:
        test = stats.ttest_ind_from_stats(
            least, deviation, num_counts, mean, deviation, num_runs - 2, alternative="less"
        )
        assert test.pvalue == pytest.approx(0.05, abs=1e-5)


def test_without_spread_the_mean_itself_is_the_least():
    assert least_acceptable_mean(point_of(256, [9] * 10), 5) == 9


# --- pruning and interpolation


def test_points_below_the_fastest_batch_are_pruned():
    assert _batches(prune([_point(32, 20), _point(64, 8), _point(128, 12)], 5)) == [64, 128]


def test_points_above_the_line_of_their_neighbours_are_pruned():
    points = [_point(100, 10), _point(200, 15.1), _point(300, 20), _point(400, 25)]
    assert _batches(prune(points, 5)) == [100, 300, 400]
    on_the_line = [_point(100, 10), _point(200, 15), _point(300, 20)]
    assert _batches(prune(on_the_line, 5)) == [100, 200, 300]


def test_after_a_pruned_point_its_successor_is_compared_anew():
    cosmoflow = [_point(32, 7.87), _point(64, 18.2), _point(128, 17.9), _point(512, 22.8), _point(1024, 40)]
    assert _batches(prune(cosmoflow, 10)) == [32, 512, 1024]


def test_interpolation_is_linear_in_the_batch():
    middle = interpolate(384, _point(256, 9, 0), _point(512, 11, 1), num_runs=5)
    assert (middle.mean, middle.deviation, middle.num_counts) == (10, 0.5, 10)


@pytest.mark.parametrize(
    ("batch", "kind", "mean"),
    [
        (256, "smallest", 10),
        (512, "measured", 10),
        (768, "interpolated", 15),
        (1024, "measured", 20),
        (1025, "missing", None),
    ],
)
def test_which_point_is_used_for_a_batch(batch, kind, mean):
    reference = reference_at(batch, [_point(512, 10), _point(1024, 20)], 5)
    assert reference.kind == kind
    assert (reference.point.mean if reference.point else None) == mean
    assert f"{batch:g}" in reference.describe()


def test_description_names_neighbors_and_pruned_points():
    points = [_point(32, 8), _point(64, 18), _point(512, 22)]
    assert reference_at(128, points, 10).describe() == (
        "interpolated at batch 128 between 32 and 512; reference batches ignored (slower than interpolation): 64"
    )


# --- the shipped points, against the public checker's own data and its own search


ROUNDS = [(version, name) for version in ("1.0", "2.0", "3.0") for name in ("cosmoflow", "deepcam", "oc20")]


@pytest.mark.parametrize(("version", "benchmark"), [*ROUNDS, ("3.0", "openfold")])
def test_points_agree_with_the_public_checker(version, benchmark):
    public = pytest.importorskip("mlperf_logging.rcp_checker.rcp_checker")
    num_runs = ruleset.load(f"mlperf_hpc_{version}").benchmark(benchmark).num_runs
    theirs = public.RCP_Checker("hpc", f"{version}.0", benchmark, False)
    counts = {record["BS"]: record["Epochs to converge"] for record in theirs.rcp_data.values()}
    points = [point_of(batch, values) for batch, values in _shipped(version, benchmark).items()]
    assert {batch: sorted(values) for batch, values in _shipped(version, benchmark).items()} == counts
    kept = prune(points, num_runs)
    assert _batches(kept) == sorted(record["BS"] for record in theirs.pruned_rcp_data.values())
    for record in theirs.pruned_rcp_data.values():
        point = next(point for point in kept if point.global_batch_size == record["BS"])
        assert point.mean == pytest.approx(record["RCP Mean"])
        assert least_acceptable_mean(point, num_runs) == pytest.approx(record["Min Epochs"], abs=1e-4)


def _shipped(version: str, benchmark: str) -> dict[int, list[float]]:
    file = Path(ruleset.__file__).parents[2] / "rules" / "reference_convergence.toml"
    tables = tomllib.loads(file.read_text())[f"mlperf_hpc_{version}"]
    return {int(batch): values for batch, values in tables[benchmark].items()}


# --- rules on logs


def _log(path: Path, *, epochs: int, batch: int, target_met: bool = True, epoch_num: object = ...) -> None:
    def line(key, value, time_ms, **metadata):
        event = {"key": key, "value": value, "time_ms": START_MS + time_ms, "metadata": metadata}
        return ":::MLLOG " + json.dumps(event)

    last = epochs if epoch_num is ... else epoch_num
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "\n".join(
            [
                line("global_batch_size", batch, 0),
                line("run_start", None, 1000),
                line("eval_error", 0.04, 2000, epoch_num=1),
                line("eval_error", 0.035 if target_met else 0.05, 60_000 * epochs, epoch_num=last),
                line("run_stop", None, 60_000 * epochs + 1000, status="success"),
            ]
        )
    )


def _entry(tmp_path, runs, *, division="closed", scaling="strong"):
    """An oc20 entry from keyword arguments of _log, one dictionary a run."""
    for number, run in enumerate(runs):
        _log(tmp_path / "acme/results/big" / scaling / f"oc20/result_{number}.txt", **run)
    systems = tmp_path / "acme/systems"
    systems.mkdir()
    (systems / "big.json").write_text(json.dumps({"division": division}))
    return reader.read(tmp_path / "acme")


def _findings(read) -> dict[str, str]:
    rules = ruleset.load("mlperf_hpc_2.0")
    return {found.rule: found.severity for found in check(read, rules) if found.rule.startswith("C")}


def test_as_slow_as_the_reference_is_no_finding(tmp_path):
    assert _findings(_entry(tmp_path, [{"epochs": 33, "batch": 2048}] * 5)) == {}


def test_within_chance_is_scaled(tmp_path):
    read = _entry(tmp_path, [{"epochs": epochs, "batch": 2048} for epochs in (30, 33, 32, 33, 32)])
    assert _findings(read) == {"C105": "warning"}
    rules = ruleset.load("mlperf_hpc_2.0")
    assert compare(read.entries[0], rules_for(read.entries[0], rules)).scale_factor == pytest.approx(32.875 / (97 / 3))


def test_beyond_chance_is_refused(tmp_path):
    # The least acceptable mean at batch 2048 is 31.63.
    read = _entry(tmp_path, [{"epochs": 31, "batch": 2048}] * 5)
    assert _findings(read) == {"C101": "error"}


@pytest.mark.parametrize(("mean", "refused"), [(9.0, False), (9.0 - 1e-12, False), (8.999, True)])
def test_least_acceptable_mean_itself_is_accepted(mean, refused):
    reference = reference_at(256, [point_of(256, [9] * 10)], 5)
    comparison = Comparison(unit="epochs", reference=reference, mean_epochs=mean, least_epochs=9.0)
    assert comparison.is_significantly_faster == refused
    assert comparison.scale_factor == pytest.approx(1)


def test_one_lucky_run_is_dropped_before_the_test(tmp_path):
    read = _entry(tmp_path, [{"epochs": epochs, "batch": 2048} for epochs in (5, 33, 33, 33, 33)])
    assert _findings(read) == {}


def test_an_unconverged_run_is_the_slowest(tmp_path):
    runs = [{"epochs": 33, "batch": 2048} for _ in range(4)] + [{"epochs": 2, "batch": 2048, "target_met": False}]
    assert _findings(_entry(tmp_path, runs)) == {}


def test_batch_above_every_point_needs_the_reference(tmp_path):
    assert _findings(_entry(tmp_path, [{"epochs": 40, "batch": 4096}] * 5)) == {"C102": "manual"}


def test_batch_below_every_point_is_compared_with_the_smallest(tmp_path):
    assert _findings(_entry(tmp_path, [{"epochs": 25, "batch": 128}] * 5)) == {"C103": "warning"}


def test_batch_below_every_point_and_faster_needs_the_reference(tmp_path):
    assert _findings(_entry(tmp_path, [{"epochs": 10, "batch": 128}] * 5)) == {"C102": "manual"}


def test_between_two_points_is_interpolated(tmp_path):
    read = _entry(tmp_path, [{"epochs": 22, "batch": 640}] * 5)
    comparison = compare(read.entries[0], rules_for(read.entries[0], ruleset.load("mlperf_hpc_2.0")))
    assert comparison.reference.kind == "interpolated"
    assert comparison.reference.point.mean == pytest.approx((19.75 + 24.375) / 2)


def test_evaluations_without_epochs_cannot_hide_a_fast_entry(tmp_path):
    assert _findings(_entry(tmp_path, [{"epochs": 5, "batch": 2048, "epoch_num": None}] * 5)) == {"C104": "error"}


def test_runs_of_two_batch_sizes_cannot_be_compared(tmp_path):
    runs = [{"epochs": 33, "batch": 2048}] * 4 + [{"epochs": 33, "batch": 1024}]
    assert _findings(_entry(tmp_path, runs)) == {"C104": "error"}


def test_open_division_is_not_compared(tmp_path):
    assert _findings(_entry(tmp_path, [{"epochs": 5, "batch": 2048}] * 5, division="open")) == {}


def test_throughput_is_compared_but_not_scaled(tmp_path):
    runs = [{"epochs": epochs, "batch": 2048} for epochs in (30, 33, 32, 33, 32)]
    assert _findings(_entry(tmp_path, runs, scaling="weak")) == {}


def test_round_without_points_compares_nothing(tmp_path):
    read = _entry(tmp_path, [{"epochs": 2, "batch": 2048}] * 5)
    demo = ruleset.load("mlperf_hpc_demo")
    assert compare(read.entries[0], rules_for(read.entries[0], demo)) is None


# --- openfold counts training samples


OPENFOLD = ruleset.load("mlperf_hpc_3.0").benchmark("openfold")


def _openfold_log(path: Path, *, batch: int, samples: int, on_the_clock: bool = True) -> None:
    """A run that meets the target after `samples` training samples, as epoch_num of its last evaluation gives them."""
    size = ("train_samples", 594595, {})
    events = [
        *([] if on_the_clock else [size]),
        ("global_batch_size", batch, {}),
        ("run_start", None, {}),
        *([size] if on_the_clock else []),
        ("eval_accuracy", 0.7, {"epoch_num": samples // 2}),
        ("eval_accuracy", 0.81, {"epoch_num": samples}),
        ("run_stop", None, {"status": "success"}),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        ":::MLLOG " + json.dumps({"key": key, "value": value, "time_ms": START_MS + number, "metadata": metadata})
        for number, (key, value, metadata) in enumerate(events)
    ]
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("on_the_clock", [True, False])
def test_openfold_converges_after_the_samples_of_its_last_evaluation(tmp_path, on_the_clock):
    _openfold_log(tmp_path / "result_0.txt", batch=256, samples=81920, on_the_clock=on_the_clock)
    assert epochs_to_converge(mllog.read(tmp_path / "result_0.txt"), OPENFOLD) == 81920


@pytest.mark.parametrize(
    ("batch", "mean", "factor", "rules"),
    [(144, 92_160, 1.0231, {"C105"}), (256, 124_160, 1.0722, {"C105"}), (218, 109_000, 1.0, {"C101"})],
)
def test_openfold_against_its_reference_points(tmp_path, batch, mean, factor, rules):
    folder = tmp_path / "acme/results/big/strong/openfold"
    for number in range(10):
        _openfold_log(
            folder / f"result_{number}.txt", batch=batch, samples=mean + 1000 * ((number in (8,)) - (number in (9,)))
        )
    systems = tmp_path / "acme/systems"
    systems.mkdir()
    (systems / "big.json").write_text(json.dumps({"division": "closed"}))
    read, v3 = reader.read(tmp_path / "acme"), ruleset.load("mlperf_hpc_3.0")
    comparison = compare(read.entries[0], rules_for(read.entries[0], v3))
    assert comparison.mean_epochs == mean
    assert comparison.scale_factor == pytest.approx(factor, abs=5e-5)
    assert {found.rule for found in check(read, v3) if found.rule.startswith("C")} == rules
    if batch == 218:
        assert comparison.least_epochs == pytest.approx(111_199, abs=1)


def test_throughput_is_not_refused_for_fast_convergence(tmp_path):
    assert _findings(_entry(tmp_path, [{"epochs": 31, "batch": 2048}] * 5, scaling="weak")) == {}
