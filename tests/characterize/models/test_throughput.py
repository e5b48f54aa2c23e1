# SPDX-License-Identifier: Apache-2.0
"""The throughput model on measurements that were made up by a law which it can know."""

import numpy as np
import pytest

from characterize.models.throughput import Setting, ThroughputModel

DEVICE_RATES = {"V100": 20.0, "A100": 60.0}


def setting(device="A100", ranks=64, batch=256, benchmark="cosmoflow"):
    return Setting(benchmark=benchmark, device=device, era="2.0", num_ranks=ranks, global_batch_size=batch)


def law(one):
    """A rank gains a fifth with each doubling of its batch and loses a twentieth with each doubling of the ranks."""
    doublings = np.log2(one.local_batch_size)
    return one.num_ranks * DEVICE_RATES[one.device] * 1.2**doublings * 0.95 ** np.log2(one.num_ranks)


@pytest.fixture(scope="module")
def model():
    random = np.random.default_rng(1)
    settings = [
        setting(device, ranks, batch)
        for device in DEVICE_RATES
        for ranks in (16, 64, 256)
        for batch in (256, 512, 1024)
    ]
    return ThroughputModel.fit([(one, law(one) * 2 ** random.normal(0, 0.05)) for one in settings])


def test_it_finds_the_law(model):
    for one in (setting("V100", 32, 512), setting("A100", 128, 2048)):
        assert model.at(one).median == pytest.approx(law(one), rel=0.15)


def test_its_interval_holds_the_truth(model):
    wanted = setting("A100", 128, 512)
    low, high = model.at(wanted).interval()
    assert low < law(wanted) < high


def test_an_unknown_device_costs_certainty(model):
    known, unknown = model.at(setting("A100")), model.at(setting("Z900"))
    assert unknown.spread > 3 * known.spread
    assert model.unknown(setting("Z900")) == [("device", "Z900")]
    assert model.unknown(setting("A100")) == []


def test_far_from_the_measurements_it_is_less_sure(model):
    assert model.at(setting(ranks=16384, batch=16384)).spread > model.at(setting(ranks=64, batch=512)).spread


def test_one_measurement_is_enough_to_say_something():
    model = ThroughputModel.fit([(setting(), 6400.0)])
    assert model.at(setting()).median == pytest.approx(6400, rel=0.4)
