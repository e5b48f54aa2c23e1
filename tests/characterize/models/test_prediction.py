# SPDX-License-Identifier: Apache-2.0
"""Predictions from invented entries whose answer can be computed by hand."""

from dataclasses import replace

import pytest

from characterize.models.prediction import Knowledge, MeasuredThroughput, Wanted, first_epochs, setting_of, team_of
from tests.characterize.models.conftest import DEVICES, made_entry


def wanted(entry, **known):
    return Wanted(setting=setting_of(entry, [entry], DEVICES), train_samples=entry.train_samples, **known)


@pytest.fixture(scope="module")
def knowledge(lawful_round):
    return Knowledge.of(lawful_round, DEVICES)


def test_a_lawful_round_is_predicted(knowledge):
    entry = made_entry(num_ranks=32, global_batch_size=384)
    assert knowledge.predict(wanted(entry)).minutes.median == pytest.approx(entry.minutes, rel=0.2)


def test_a_measured_throughput_is_used_as_it_is(knowledge):
    measured = MeasuredThroughput(samples_per_s=123.0, startup_minutes=2.0)
    prediction = knowledge.predict(wanted(made_entry(), measured=measured))
    assert prediction.throughput.median == 123
    computed = 10 * 100_000 / 123 / 60 + 2
    assert prediction.minutes.median == pytest.approx(computed + prediction.staging_minutes)


def test_own_measurements_tell_about_other_ranks(lawful_round):
    """A system three times as fast as all entries, measured on 16 ranks, is fast on 64 ranks too."""
    at_16 = setting_of(made_entry(num_ranks=16, organization="own measurements"), [], DEVICES)
    at_64 = replace(at_16, num_ranks=64)
    without = Knowledge.of(lawful_round, DEVICES)
    own = Knowledge.of(lawful_round, DEVICES, [(at_16, MeasuredThroughput(samples_per_s=16 * 30.0))])
    ratio = own.throughput.at(at_64).median / without.throughput.at(at_64).median
    assert 1.3 < ratio < 3.3


def test_without_similar_entries_there_is_no_prediction(knowledge):
    other = made_entry(train_samples=200_000)
    assert knowledge.predict(wanted(other)) is None
    assert knowledge.predict(wanted(other, epochs=10.0)) is not None
    assert knowledge.predict(wanted(other, convergence={256.0: 12.0})).epochs.median == 12


def test_throughput_entries_tell_epochs_but_neither_throughput_nor_staging(lawful_round):
    crowd = [
        made_entry(metric="throughput", rate_per_rank=0.1, staging_minutes=99.0, epochs=20.0, global_batch_size=1024)
    ]
    one, other = Knowledge.of(lawful_round, DEVICES), Knowledge.of([*lawful_round, *crowd], DEVICES)
    entry = wanted(made_entry(global_batch_size=1024))
    assert other.predict(entry).epochs.median == pytest.approx(20)
    assert other.predict(entry).throughput == one.predict(entry).throughput
    assert other.predict(entry).staging_minutes == one.predict(entry).staging_minutes


def test_the_first_two_epochs_give_throughput_and_startup():
    measured = first_epochs(made_entry(rate_per_rank=5.0, startup_s=90.0))
    assert measured.samples_per_s == pytest.approx(5 * 64)
    assert measured.startup_minutes == pytest.approx(1.5)
    assert first_epochs(replace(made_entry(), second_epoch_s=0.0)) is None


def test_organizations_that_submit_together_are_one_team():
    entries = [made_entry(organization=name) for name in ("Fujitsu", "RIKEN", "Fujitsu+RIKEN", "TACC", "tacc")]
    teams = [team_of(entry, entries) for entry in entries]
    assert teams == ["fujitsu+riken"] * 3 + ["tacc"] * 2
