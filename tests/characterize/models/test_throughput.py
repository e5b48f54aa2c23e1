# SPDX-License-Identifier: Apache-2.0
"""Throughput and staging models on measurements that follow a known law, and the constraint on more ranks."""

import math
from dataclasses import replace

import numpy as np
import pytest

from characterize.devices.device_table import find_device_named, known_devices
from characterize.models.log_linear import Factor, LogLinearModel, Slope
from characterize.models.prediction import Knowledge
from characterize.models.staging import staging_model
from characterize.models.throughput import Setting, throughput_model
from characterize.rounds.facts import shipped

DEVICES = known_devices()
V100, A100, H100 = (find_device_named(name, DEVICES) for name in ("V100", "A100", "H100"))
RATES = {"V100": 20.0, "A100": 60.0}


def setting(device=A100, ranks=64, batch=256, benchmark="cosmoflow", team="acme"):
    return Setting(
        benchmark=benchmark,
        device=device,
        round="2.0",
        year=2022.7,
        team=team,
        num_ranks=ranks,
        global_batch_size=batch,
    )


def law(one):
    """A rank gains a fifth with each doubling of its batch and loses a twentieth with each doubling of the ranks."""
    return (
        one.num_ranks
        * RATES[one.device.name]
        * 1.2 ** math.log2(one.local_batch_size)
        * 0.95 ** math.log2(one.num_ranks)
    )


@pytest.fixture(scope="module")
def model():
    random = np.random.default_rng(1)
    settings = [
        setting(device, n, batch) for device in (V100, A100) for n in (16, 64, 256) for batch in (256, 512, 1024)
    ]
    return throughput_model([(one, law(one) * 2 ** random.normal(0, 0.05)) for one in settings])


def test_the_law_is_recovered(model):
    for one in (setting(V100, 32, 512), setting(A100, 128, 2048)):
        assert model.at(one).median == pytest.approx(law(one), rel=0.15)


def test_the_interval_contains_the_truth(model):
    wanted = setting(A100, 128, 512)
    low, high = model.at(wanted).interval()
    assert low < law(wanted) < high


def test_an_unknown_team_is_less_certain(model):
    assert model.at(setting(team="new")).spread > 1.2 * model.at(setting()).spread


def test_a_new_device_is_predicted_from_its_rates_with_less_certainty(model):
    new, known = model.at(setting(H100)), model.at(setting(A100))
    assert 1.3 * known.median < new.median < 4 * known.median
    assert new.spread > 1.2 * known.spread


def test_a_new_device_like_a_known_one_is_as_fast(model):
    twin = replace(A100, name="A100 twin")
    assert model.at(setting(twin)).median == pytest.approx(model.at(setting(A100)).median, rel=0.35)


def test_more_ranks_never_make_a_rank_faster():
    """Measurements in which larger systems are faster per rank do not give a positive slope."""
    settings = [setting(ranks=ranks, batch=4 * ranks) for ranks in (16, 64, 256, 1024)]
    odd = throughput_model([(one, one.num_ranks * 10.0 * one.num_ranks**0.3) for one in settings])
    rates = [odd.at(one).median / one.num_ranks for one in settings]
    assert rates == sorted(rates, reverse=True)


def test_more_ranks_never_make_a_rank_faster_on_public_entries():
    knowledge = Knowledge.of(shipped(), DEVICES)
    for benchmark in ("cosmoflow", "deepcam", "oc20"):
        settings = [setting(ranks=ranks, batch=2 * ranks, benchmark=benchmark, team="") for ranks in (32, 256, 2048)]
        rates = [knowledge.throughput.at(one).median / one.num_ranks for one in settings]
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] > 0.5 * rates[0]


def test_one_measurement_is_enough_for_an_estimate():
    one = throughput_model([(setting(), 6400.0)])
    assert one.at(setting()).median == pytest.approx(6400, rel=0.4)


def test_staging_gets_shorter_with_ranks_and_is_never_negative():
    measured = [(setting(ranks=ranks), 640 / ranks) for ranks in (16, 64, 256, 1024)]
    model = staging_model(measured)
    minutes = [model.at(setting(ranks=ranks)) for ranks in (16, 128, 1024)]
    assert minutes == sorted(minutes, reverse=True)
    assert staging_model([(setting(), 0.0)] * 5).at(setting()) == pytest.approx(0, abs=0.1)


def test_a_constrained_slope_is_zero_and_the_others_are_refitted():
    slopes = (
        Slope(covariate=lambda one: one[0], mean=0.0, deviation=1.0, at_most_zero=True),
        Slope(covariate=lambda one: one[1], mean=0.0, deviation=1.0),
    )
    measured = [((x, y), 2.0 ** (0.5 * x + 0.5 * y)) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)]
    model = LogLinearModel.fit(measured, intercept=(0.0, 1.0), slopes=slopes)
    assert model.mean[1] == pytest.approx(0, abs=1e-12)
    assert model.mean[2] == pytest.approx(0.5, abs=0.05)


def test_levels_without_measurements_are_named():
    model = LogLinearModel.fit([("a", 2.0)], intercept=(0.0, 1.0), factors=(Factor(level=str, deviation=1.0),))
    assert model.unknown("a") == []
    assert model.unknown("b") == [(0, "b")]
