# SPDX-License-Identifier: Apache-2.0
"""Figures of runs and entries made for the purpose, so that every number can be worked out by hand."""

import json

import pytest

from compliance.analysis.spread import spread_of
from compliance.analysis.variability import variability
from compliance.commands import _analysis


@pytest.fixture
def entries(valid_round):
    _, figures = _analysis.read(valid_round, "mlperf_hpc_2.0")
    return {entry.system: entry for entry in figures}


def test_times_epochs_and_rates(entries):
    """conftest's runs stage for 40 s; an epoch trains for 10 to 10.1 s and evaluates for 0.9 s."""
    box = entries["box"]
    assert len(box.runs) == 8
    assert box.epochs.mean == 24
    assert box.epochs.deviation == 0
    assert box.staging_minutes.mean == pytest.approx(40 / 60)
    seconds = [run.phases.training_minutes * 60 / 24 for run in box.runs]
    assert box.training_rate_per_unit.mean == pytest.approx(sum(524288 / second for second in seconds) / 8 / 512)
    assert box.evaluation_rate_per_unit.mean == pytest.approx(65536 / 0.9 / 512)
    assert box.compute_budget_hours == pytest.approx(box.minutes.mean / 60 * 512)
    assert box.evaluations_per_epoch == 1


def test_equation_2(entries):
    box = entries["box"]
    ratio = box.staging_minutes.mean / box.epoch_minutes.mean
    assert box.staging_ratio == pytest.approx(ratio)
    assert box.predicted_staging_share == pytest.approx(ratio / (ratio + 24))
    assert box.staging_share == pytest.approx(box.predicted_staging_share, rel=0.02)


def test_units_are_those_that_train_one_model(valid_round, edit_log):
    """An instance of 512 ranks on a system of 704 nodes with 8 accelerators each."""
    _, figures = _analysis.read(valid_round, "mlperf_hpc_2.0")
    cluster = next(entry for entry in figures if entry.system == "cluster")
    assert (cluster.units, cluster.unit, cluster.hardware.num_accelerators) == (512, "accelerator", 704 * 8)


def test_processors_count_without_accelerators(valid_round, edit_log):
    file = valid_round / "beta/systems/rack.json"
    told = {"accelerators_per_node": "0", "number_of_nodes": "64", "host_processors_per_node": "2"}
    file.write_text(json.dumps(json.loads(file.read_text()) | told))
    for log in (valid_round / "beta/results/rack/strong/deepcam").iterdir():
        edit_log(log, lambda run: [run.drop("number_of_ranks"), run.drop("accelerators_per_node")])
    _, figures = _analysis.read(valid_round, "mlperf_hpc_2.0")
    rack = next(entry for entry in figures if entry.system == "rack")
    assert (rack.units, rack.unit) == (128, "processor")


def test_what_the_logs_do_not_tell_is_none(valid_round, edit_log):
    for log in (valid_round / "beta/results/rack/strong/deepcam").iterdir():
        edit_log(log, lambda run: [run.drop("train_samples"), run.drop("staging_start"), run.drop("staging_stop")])
    _, figures = _analysis.read(valid_round, "mlperf_hpc_2.0")
    rack = next(entry for entry in figures if entry.system == "rack")
    assert rack.training_rate_per_unit is None
    assert rack.samples_per_epoch is None
    assert rack.staging_minutes is None
    assert rack.predicted_staging_share is None
    assert rack.evaluation_rate_per_unit is not None


def test_events_after_run_stop_are_not_counted(valid_round, edit_log):
    def add_epochs(run):
        run.start("epoch", 1000, epoch_num=99)
        run.start("eval", 1000, epoch_num=99)

    for log in (valid_round / "beta/results/rack/strong/deepcam").iterdir():
        edit_log(log, add_epochs)
    _, figures = _analysis.read(valid_round, "mlperf_hpc_2.0")
    rack = next(entry for entry in figures if entry.system == "rack")
    assert rack.epochs.mean == 12
    assert rack.evaluations_per_epoch == 1


def test_variability_is_shared_between_epochs_and_throughput(valid_round, run_log):
    """Runs of 8, 10, ... epochs of about equal length: the epochs explain nearly all of the variance."""
    folder = valid_round / "beta/results/rack/strong/deepcam"
    for index in range(5):
        run_log("deepcam", org="beta", seed=900 + index, num_epochs=8 + 2 * index).write(folder / f"result_{index}.txt")
    _, figures = _analysis.read(valid_round, "mlperf_hpc_2.0")
    varied = variability(next(entry for entry in figures if entry.system == "rack"))
    assert varied.epochs_share == pytest.approx(1, abs=0.05)
    assert varied.epochs_share + varied.throughput_share == pytest.approx(1)
    assert varied.relative_deviation == pytest.approx(2 / 12, rel=0.02)


def test_equal_epochs_explain_nothing(entries):
    varied = variability(entries["box"])
    assert varied.epochs_share == pytest.approx(0, abs=1e-9)
    assert varied.throughput_share == pytest.approx(1)


def test_a_spread_needs_every_value():
    spread = spread_of([1.0, 2.0, 3.0])
    assert (spread.mean, spread.deviation, spread.count) == (2, 1, 3)
    assert spread.scaled(10).deviation == 10
    assert spread_of([5.0]).deviation == 0
    assert spread_of([1.0, None]) is None
    assert spread_of([]) is None
