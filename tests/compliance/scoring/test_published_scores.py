# SPDX-License-Identifier: Apache-2.0
"""Every entry of two published rounds, scored to the sixth decimal as it was published."""

import csv
from functools import cache
from pathlib import Path

import pytest

from compliance.rulesets import ruleset
from compliance.scoring.score import Score, score
from compliance.submissions import reader

ROUNDS = {"0.7": 15, "2.0": 22}  # entries


@cache
def _scores(results: Path, version: str) -> list[Score]:
    read = reader.read(results / f"hpc_results_v{version}")
    return score(read, ruleset.load(f"mlperf_hpc_{version}"))


def _expected(results: Path, version: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    with (results / f"expected_v{version}.csv").open(newline="") as file:
        return {
            (row["org"], row["system"], row["benchmark"], row["metric"]): (
                row["runs"],
                row["unconverged"],
                row["minutes"],
                row["scaled_minutes"],
            )
            for row in csv.DictReader(file)
        }


@pytest.mark.parametrize("version", ROUNDS)
def test_every_entry_scores_as_published(published_results, version):
    found = {
        (one.org, one.system, one.benchmark, one.metric): (
            str(one.runs),
            str(one.unconverged),
            f"{one.minutes:.6f}",
            f"{one.scaled_minutes:.6f}",
        )
        for one in _scores(published_results, version)
    }
    assert len(found) == ROUNDS[version]
    assert found == _expected(published_results, version)


def test_only_the_two_scaled_scores_are_scaled(published_results):
    scaled = {
        (one.system, one.benchmark): one.scale_factor
        for one in _scores(published_results, "2.0")
        if one.scale_factor != 1
    }
    # 32.875 reference epochs at batch 2048 over 97/3 and 98/3 of their own
    assert scaled == {
        ("juwelsbooster_gpu_n512_pytorch1.13", "oc20"): pytest.approx(32.875 / (97 / 3)),
        ("dgxa100_n64_pytorch", "oc20"): pytest.approx(32.875 / (98 / 3)),
    }


def test_a_significantly_faster_entry_keeps_its_published_minutes(published_results):
    fast = next(
        one
        for one in _scores(published_results, "2.0")
        if (one.system, one.benchmark) == ("horeka_gpu_n512_pytorch1.13", "cosmoflow")
    )
    assert fast.scaled_minutes == fast.minutes
    assert fast.reference.startswith("21.375 epochs against 22.8333, at least 22.19")


def test_throughput_entries_name_their_scales(published_results):
    scales = {
        (one.system, one.benchmark): (
            one.throughput.total_scale,
            one.throughput.instance_scale,
            one.throughput.num_kept,
            one.throughput.num_pruned,
        )
        for one in _scores(published_results, "2.0")
        if one.metric == "throughput"
    }
    assert scales["fugaku_82944xA64FX_tensorflow_closed", "cosmoflow"] == (82944, 128, 637, 11)
    assert scales["dgxa100_n512_pytorch", "oc20"] == (4096, 64, 60, 4)
    assert scales["juwelsbooster_gpu_n128_pytorch1.13", "deepcam"] == (3072, 128, 24, 0)
