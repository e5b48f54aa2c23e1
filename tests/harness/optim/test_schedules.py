# SPDX-License-Identifier: Apache-2.0
"""Schedules against published rates and hand calculation."""

import math

import pytest

from harness.optim.schedules import (
    cosine_decay,
    linear_decay,
    linear_warmup,
    polynomial_decay,
    step_decay,
)


def curve(num_epochs, peak, warmup, warmup_factor, boundaries, factors):
    rates = [step_decay(epoch, peak=peak, boundaries=boundaries, factors=factors) for epoch in range(num_epochs)]
    return [
        linear_warmup(epoch, rate, peak=peak, warmup=warmup, warmup_factor=warmup_factor)
        for epoch, rate in enumerate(rates)
    ]


# Rates that three public v2.0 runs logged with their epoch_start events. Those runs decay *at* the boundary epoch that
# they log, the reference one epoch after it; hence their boundaries stand here less one.
LOGGED_CURVES = [
    pytest.param(
        {"peak": 0.012, "warmup": 6, "warmup_factor": 2, "factors": [0.5, 0.25, 0.125, 0.0625]},
        [19, 21, 22, 23],
        [0.006, 0.007, 0.008, 0.009, 0.01, 0.011] + 13 * [0.012] + [0.006, 0.006, 0.003, 0.0015, 0.00075],
        id="dgxa100_n64",
    ),
    pytest.param(
        {"peak": 0.024, "warmup": 6, "warmup_factor": 4, "factors": [0.5, 0.25, 0.125, 0.0625]},
        [19, 21, 22, 23],
        [0.006, 0.009, 0.012, 0.015, 0.018, 0.021] + 13 * [0.024] + [0.012, 0.012],
        id="horeka_n512",
    ),
    pytest.param(
        {"peak": 0.004, "warmup": 2, "warmup_factor": 4, "factors": [0.25, 0.0625]},
        [4, 6],
        [0.001, 0.0025, 0.004, 0.004, 0.001, 0.001, 0.00025],
        id="dgxa100_n512",
    ),
]


@pytest.mark.parametrize(("schedule", "logged_boundaries", "logged_rates"), LOGGED_CURVES)
def test_published_learning_rates(schedule, logged_boundaries, logged_rates):
    boundaries = [boundary - 1 for boundary in logged_boundaries]
    assert curve(len(logged_rates), boundaries=boundaries, **schedule) == pytest.approx(logged_rates)


def test_reference_curve_at_batch_512():
    rates = curve(128, peak=0.008, warmup=4, warmup_factor=8, boundaries=[32, 64], factors=[0.25, 0.125])
    assert rates[:5] == pytest.approx([0.001, 0.00275, 0.0045, 0.00625, 0.008])
    assert rates[5:33] == [0.008] * 28
    assert rates[33:65] == [0.002] * 32
    assert rates[65:] == [0.001] * 63


def test_a_boundary_is_passed_one_epoch_after_it():
    decay = {"peak": 1.0, "boundaries": [3], "factors": [0.5]}
    assert [step_decay(epoch, **decay) for epoch in (2, 3, 4)] == [1.0, 1.0, 0.5]


def test_a_single_factor_multiplies_at_each_boundary():
    rates = [step_decay(epoch, peak=1.0, boundaries=[1, 2, 3], factors=0.5) for epoch in range(6)]
    assert rates == [1.0, 1.0, 0.5, 0.25, 0.125, 0.125]


def test_no_boundaries_means_no_decay():
    assert step_decay(1000, peak=0.1, boundaries=[], factors=[]) == 0.1


def test_no_warm_up_starts_at_the_peak():
    assert linear_warmup(0, 0.3, peak=0.3, warmup=0, warmup_factor=8) == 0.3


def test_linear_decay_and_its_ends():
    rates = [linear_decay(epoch, peak=1.0, start=2, stop=6, end=0.2) for epoch in (0, 2, 3, 4, 6, 9)]
    assert rates == pytest.approx([1.0, 1.0, 0.8, 0.6, 0.2, 0.2])


def test_polynomial_decay():
    rates = [polynomial_decay(step, peak=1.0, start=0, stop=10, power=2) for step in (0, 5, 9, 10)]
    assert rates == pytest.approx([1.0, 0.25, 0.01, 0.0])


def test_cosine_decay():
    rates = [cosine_decay(step, peak=1.0, start=0, stop=8, end=0.5) for step in (0, 2, 4, 8, 12)]
    assert rates == pytest.approx([1.0, 0.5 + 0.25 * (1 + math.sqrt(0.5)), 0.75, 0.5, 0.5])


def test_a_decay_of_no_length_is_a_step():
    assert [linear_decay(epoch, peak=1.0, start=3, stop=3) for epoch in (2, 3)] == [1.0, 0.0]
