# SPDX-License-Identifier: Apache-2.0
"""Scores of small entries, by hand."""

import json
import math
from pathlib import Path

import pytest

from compliance.rulesets import ruleset
from compliance.scoring.reference_convergence import mean_without_extremes
from compliance.scoring.score import score
from compliance.submissions import reader

RULES = ruleset.load("mlperf_hpc_3.0")
START_MS = 1_600_000_000_000


def _log(path: Path, *, minutes: float = 10, start_minutes: float = 0, iou: float = 0.83, epoch=30, **values):
    def line(key, value, minute, **metadata):
        event = {"key": key, "value": value, "time_ms": START_MS + minute * 60_000, "metadata": metadata}
        return ":::MLLOG " + json.dumps(event)

    stop = start_minutes + minutes
    lines = [
        *(line(key, value, start_minutes) for key, value in values.items()),
        line("run_start", None, start_minutes),
        line("eval_accuracy", iou, stop, epoch_num=epoch),
        line("run_stop", None, stop, status="success"),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def _score(tmp_path, runs, *, scaling="strong", pruned=()):
    folder = tmp_path / "acme/results/big" / scaling / "deepcam"
    for number, run in enumerate(runs):
        _log(folder / f"result_{number}.txt", **run)
    for number, run in enumerate(pruned, start=len(runs)):
        _log(folder / f"pruned_results/result_{number}.txt", **run)
    (only,) = score(reader.read(tmp_path / "acme"), RULES)
    return only


def test_fastest_and_slowest_are_dropped(tmp_path):
    found = _score(tmp_path, [{"minutes": minutes} for minutes in (12, 10, 50, 11, 13)])
    assert (found.minutes, found.scored, found.metric) == (12, True, "time_to_train")
    assert found.dropped == ("result_1.txt", "result_2.txt")


def test_one_unconverged_run_is_the_slowest(tmp_path):
    runs = [{"minutes": minutes} for minutes in (12, 10, 11, 13)] + [{"minutes": 1, "iou": 0.81}]
    found = _score(tmp_path, runs)
    assert (found.unconverged, found.minutes, found.dropped) == (1, 12, ("result_1.txt", "result_4.txt"))


@pytest.mark.parametrize(
    "runs",
    [
        [{}] * 4,  # one too few
        [{}] * 3 + [{"iou": 0.81}] * 2,  # two that did not converge
    ],
)
def test_invalid_entries_have_no_minutes(tmp_path, runs):
    found = _score(tmp_path, runs)
    assert (found.scored, found.minutes, found.scaled_minutes) == (False, None, None)


def test_target_itself_converges(tmp_path):
    assert _score(tmp_path, [{"iou": 0.82}] * 5).unconverged == 0


@pytest.mark.parametrize(("epoch", "factor"), [(23, 1), (22, 22.625 / 22), (21, 1)])
def test_minutes_are_scaled_where_faster_within_chance(tmp_path, epoch, factor):
    # The reference needs 22.625 epochs at batch 2048; below 21.11 chance does not explain it, which check refuses.
    found = _score(tmp_path, [{"global_batch_size": 2048, "epoch": epoch}] * 5)
    assert found.scale_factor == pytest.approx(factor)
    assert found.scaled_minutes == pytest.approx(found.minutes * factor)
    assert "22.625" in found.reference


def test_throughput_spans_all_kept_instances(tmp_path):
    runs = [{"start_minutes": number, "minutes": 20} for number in range(6)]
    pruned = [{"start_minutes": 0, "minutes": 500}]
    found = _score(tmp_path, runs, scaling="weak", pruned=pruned)
    assert (found.metric, found.minutes, found.scaled_minutes, found.dropped) == ("throughput", 25, 25, ())


@pytest.mark.parametrize(
    ("values", "scales"),
    [
        ({"number_of_nodes": 2, "accelerators_per_node": 8}, (112, 16)),
        ({"number_of_nodes": 4, "accelerators_per_node": 0}, (28, 4)),
        ({"number_of_nodes": 640, "accelerators_per_node": 4, "number_of_ranks": 64}, (448, 64)),
        ({}, (None, None)),
        ({"number_of_nodes": "two"}, (None, None)),
    ],
)
def test_throughput_scales(tmp_path, values, scales):
    found = _score(tmp_path, [values] * 6, scaling="weak", pruned=[values])
    assert (found.throughput.total_scale, found.throughput.instance_scale) == scales
    assert (found.throughput.num_kept, found.throughput.num_pruned) == (6, 1)


def test_throughput_needs_all_kept_instances_converged(tmp_path):
    found = _score(tmp_path, [{}] * 6 + [{"iou": 0.5}], scaling="weak")
    assert (found.scored, found.minutes, found.unconverged) == (False, None, 1)


def test_throughput_needs_as_many_instances_as_runs(tmp_path):
    assert not _score(tmp_path, [{}] * 4, scaling="weak").scored


def test_json_fields_begin_as_the_contract_says(tmp_path):
    fields = _score(tmp_path, [{}] * 5).as_json()
    assert list(fields)[:12] == [
        *("org", "system", "division", "benchmark", "metric", "runs", "unconverged", "dropped", "minutes"),
        *("scale_factor", "scaled_minutes", "scored"),
    ]
    assert json.loads(json.dumps(fields))["org"] == "acme"


@pytest.mark.parametrize(
    ("times", "mean"),
    [([1, 2, 3], 2), ([1, 2], None), ([], None), ([1, 2, math.inf], 2), ([1, math.inf, math.inf], None)],
)
def test_mean_without_extremes(times, mean):
    assert mean_without_extremes(times) == mean
