# SPDX-License-Identifier: Apache-2.0
"""Parallel efficiency, and combining the results of several jobs."""

import pytest

from characterize.commands import scaling
from characterize.models.scaling import efficiencies
from characterize.results.result import CharacterizeError, Result


def job(num_ranks, seconds):
    data = {
        "seconds": {"weak": {str(num_ranks): seconds}},
        "global_batch_size": {"weak": {str(num_ranks): 2 * num_ranks}},
    }
    settings = {"benchmark": "cosmoflow", "size": [64, 64, 64], "kinds": ["weak"], "full": False}
    return Result(name="scaling_cosmoflow", verb="scaling", settings=settings, data=data)


def test_perfect_scaling_is_one():
    assert [point.efficiency for point in efficiencies({1: [5.0], 2: [10.0], 8: [40.0]})] == [1, 1, 1]


def test_efficiency_is_against_the_fewest_ranks():
    points = efficiencies({16: [91.0 * 2], 8: [100.0]})
    assert [point.num_ranks for point in points] == [8, 16]
    assert points[1].efficiency == pytest.approx(0.91)


def test_spread_is_the_quartiles():
    point = efficiencies({1: [1.0, 2.0, 3.0, 4.0, 5.0]})[0]
    assert (point.low, point.rate, point.high) == (2, 3, 4)


def test_jobs_are_joined_by_ranks(tmp_path):
    for num_ranks, seconds in ((8, [1.0, 1.0]), (16, [1.25, 1.25])):
        job(num_ranks, seconds).write(tmp_path / str(num_ranks))
    joined = scaling._joined("cosmoflow", [tmp_path / "16", tmp_path / "8"])
    points = scaling.points(joined, "weak")
    assert [(point.num_ranks, point.rate) for point in points] == [(8, 16), (16, pytest.approx(25.6))]
    assert points[1].efficiency == pytest.approx(0.8)
    assert next(scaling.tables(joined)).rows[1][-1] == "80 %"
    assert list(scaling.figures(joined)) == ["scaling_cosmoflow"]


def test_a_job_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CharacterizeError, match=r"nowhere/scaling_cosmoflow\.json"):
        scaling._joined("cosmoflow", [tmp_path / "nowhere"])
