# SPDX-License-Identifier: Apache-2.0
"""Invented entries that obey the time model exactly."""

from dataclasses import replace

import pytest

from characterize.devices.device_table import known_devices
from characterize.rounds.facts import EntryFacts

DEVICES = known_devices()
ENTRY = EntryFacts(
    round="2.0",
    organization="acme",
    system="n64",
    division="closed",
    benchmark="toy",
    metric="time_to_train",
    date="2022-09-01",
    device="A100",
    num_ranks=64,
    global_batch_size=256,
    train_samples=100_000,
    eval_samples=1000,
    num_runs=5,
    epochs=10.0,
    epochs_deviation=0.5,
    minutes=0.0,
    compute_minutes=0.0,
    staging_minutes=0.0,
    training_samples_per_s=0.0,
    evaluation_samples_per_s=0.0,
    first_epoch_s=0.0,
    second_epoch_s=0.0,
)


def made_entry(rate_per_rank=10.0, startup_s=0.0, **changed) -> EntryFacts:
    """An entry with this throughput of a rank; the first epoch takes startup_s longer."""
    entry = replace(ENTRY, **changed)
    epoch_s = entry.train_samples / (rate_per_rank * entry.num_ranks)
    compute_minutes = (entry.epochs * epoch_s + startup_s) / 60
    return replace(
        entry,
        compute_minutes=compute_minutes,
        minutes=changed.get("minutes", compute_minutes + entry.staging_minutes),
        training_samples_per_s=rate_per_rank * entry.num_ranks,
        first_epoch_s=epoch_s + startup_s,
        second_epoch_s=epoch_s,
    )


@pytest.fixture(scope="session")
def lawful_round() -> list[EntryFacts]:
    """Nine entries of three organizations with the same throughput per rank."""
    return [
        made_entry(num_ranks=ranks, global_batch_size=batch, organization=f"org{ranks}", system=f"n{ranks}_b{batch}")
        for ranks in (16, 32, 64)
        for batch in (128, 256, 512)
    ]
