# SPDX-License-Identifier: Apache-2.0
"""Time to train from epochs, throughput and staging, and epochs over the batch size."""

import math

import pytest

from characterize.models.time_to_train import RUN_TO_RUN, EpochCurve, Estimate, fastest, time_to_train

CURVE = EpochCurve.through({64: 18.0, 128: 18.0, 512: 22.0, 1024: 40.0})


def certain(value):
    return Estimate(median=value, spread=0.0)


def test_time_is_epochs_times_samples_over_throughput_and_staging():
    found = time_to_train(certain(20), certain(1000.0), samples_per_epoch=60_000, staging_minutes=3)
    assert found.minutes.median == pytest.approx(20 * 60 / 60 + 3)


def test_independent_spreads_add_in_squares():
    found = time_to_train(
        Estimate(median=10, spread=0.3), Estimate(median=100, spread=0.4), samples_per_epoch=600, staging_minutes=0
    )
    assert found.minutes.spread == pytest.approx(0.5)


def test_certain_factors_leave_staging_in_doubt():
    found = time_to_train(certain(60), certain(1.0), samples_per_epoch=1, staging_minutes=1)
    assert found.minutes.median == pytest.approx(2)
    assert found.minutes.spread == pytest.approx(0.5)


def test_the_curve_passes_through_its_points():
    assert [CURVE.at(batch).median for batch in (64, 128, 512, 1024)] == pytest.approx([18, 18, 22, 40])
    assert CURVE.at(512).spread == RUN_TO_RUN


def test_between_points_it_is_straight_on_logarithmic_axes():
    assert CURVE.at(256).median == pytest.approx(math.sqrt(18 * 22))
    assert CURVE.at(724.077).median == pytest.approx(math.sqrt(22 * 40), rel=1e-4)
    assert CURVE.at(724).spread > CURVE.at(512).spread


def test_below_the_points_it_is_level_and_less_sure_with_distance():
    assert CURVE.at(16).median == 18
    assert CURVE.at(16).spread > CURVE.at(32).spread > RUN_TO_RUN


def test_above_the_points_it_keeps_the_last_slope():
    slope = math.log(40 / 22) / math.log(2)
    assert CURVE.at(2048).median == pytest.approx(40 * 2**slope)
    assert EpochCurve.through({64: 10, 128: 40}).at(256).median == pytest.approx(80), "no steeper than the batch"
    assert EpochCurve.through({64: 10}).at(256).median == 10


def test_values_at_one_batch_are_joined():
    assert EpochCurve.of([(64, 10), (64, 12), (64, 40), (128, 7)]).points == ((64, 12), (128, 7))


def test_an_interval_is_symmetric_in_factors():
    low, high = Estimate(median=10, spread=0.2).interval(2)
    assert low * high == pytest.approx(100)
    assert high / 10 == pytest.approx(math.exp(0.4))


def test_the_fastest_choice_prefers_fewer_ranks_where_times_are_equal():
    slow, fast = (time_to_train(certain(epochs), certain(1), samples_per_epoch=1) for epochs in (2, 1))
    assert fastest({(8, 64): slow, (64, 64): fast, (32, 64): fast}) == (32, 64)
