# SPDX-License-Identifier: Apache-2.0
"""Facts from logs: events after run_stop do not count, ranks and epochs have the right unit, gaps are reported."""

import json

import pytest

from characterize.devices.device_table import known_devices
from characterize.rounds import from_logs
from characterize.rounds.from_logs import facts_of_rounds

SECOND = 1000
DESCRIPTION = {
    "division": "closed",
    "number_of_nodes": 16,
    "accelerators_per_node": 8,
    "accelerator_model_name": "NVIDIA A100-SXM4-40GB",
}


class Log:
    """Event log of one run; times in seconds after its start."""

    def __init__(self, start_s: float, benchmark: str, **values) -> None:
        self.lines, self.start_ms = [], 1_630_000_000_000 + SECOND * start_s
        values = {"submission_benchmark": benchmark, "global_batch_size": 256, "train_samples": 1000} | values
        for key, value in values.items():
            self.event(-1, key, value)

    def event(self, time_s: float, key: str, value=None, **metadata) -> None:
        record = {"namespace": "", "time_ms": int(self.start_ms + SECOND * time_s), "event_type": "POINT_IN_TIME"}
        self.lines.append(":::MLLOG " + json.dumps(record | {"key": key, "value": value, "metadata": metadata}))

    def epoch(self, number: int, start_s: float, quality: float, key: str = "eval_accuracy", **metadata) -> None:
        """An epoch of 8 s of training and 2 s of evaluation."""
        metadata = {"epoch_num": number} | metadata
        self.event(start_s, "epoch_start", None, epoch_num=number)
        self.event(start_s + 8, "eval_start", None, epoch_num=number)
        self.event(start_s + 10, key, quality, **metadata)
        self.event(start_s + 10, "eval_stop", None, epoch_num=number)
        self.event(start_s + 10, "epoch_stop", None, epoch_num=number)


def run(start_s: float, *, epochs_after_stop: int = 0, **values) -> Log:
    """5 s of staging, then four epochs; the last one reaches the target."""
    log = Log(start_s, "deepcam", eval_samples=100, **values)
    log.event(0, "run_start")
    log.event(0, "staging_start")
    log.event(5, "staging_stop")
    for number in range(1, 5):
        log.epoch(number, 10 * number - 5, 0.5 + 0.1 * number)
    log.event(45, "run_stop", None, status="success")
    for extra in range(epochs_after_stop):
        log.epoch(5 + extra, 45 + 10 * extra, 0.95)
    return log


def write_round(root, logs, *, benchmark="deepcam", description=DESCRIPTION, name="hpc_results_v2.0"):
    """A round with one organization and one entry; returns its folder."""
    folder = root / name / "acme" / "results" / "n16" / "strong" / benchmark
    folder.mkdir(parents=True)
    for number, log in enumerate(logs):
        (folder / f"result_{number}.txt").write_text("\n".join(log.lines) + "\n")
    systems = root / name / "acme" / "systems"
    systems.mkdir()
    (systems / "n16.json").write_text(json.dumps(description))
    return root / name


def only_entry(root):
    entries, left_out = facts_of_rounds([root], known_devices())
    assert (len(entries), left_out) == (1, [])
    return entries[0]


def test_epochs_times_and_rates_of_an_entry(tmp_path):
    entry = only_entry(write_round(tmp_path, [run(100 * number, number_of_ranks=128) for number in range(5)]))
    assert (entry.round, entry.organization, entry.metric, entry.device) == ("2.0", "acme", "time_to_train", "A100")
    assert (entry.epochs, entry.num_runs, entry.date) == (4, 5, "2021-08-26")
    assert entry.staging_minutes == pytest.approx(5 / 60)
    assert entry.compute_minutes == pytest.approx(40 / 60)
    assert entry.samples_per_s == pytest.approx(4 * 1000 / 40)
    assert entry.training_samples_per_s == pytest.approx(4 * 1000 / 32)
    assert entry.evaluation_samples_per_s == pytest.approx(4 * 100 / 8)
    assert (entry.first_epoch_s, entry.second_epoch_s) == (10, 10)


def test_epochs_after_run_stop_do_not_count(tmp_path):
    logs = [run(1000 * number, epochs_after_stop=20, number_of_ranks=128) for number in range(5)]
    entry = only_entry(write_round(tmp_path, logs))
    assert entry.epochs == 4
    assert entry.samples_per_s == pytest.approx(100)


@pytest.mark.parametrize(
    ("logged", "ranks"),
    [
        ({"number_of_ranks": 128, "number_of_nodes": 128, "accelerators_per_node": 1}, 128),
        ({"number_of_nodes": 64, "accelerators_per_node": 2}, 128),
        ({"number_of_nodes": 512, "accelerators_per_node": 0}, 512),
        ({}, 128),
    ],
)
def test_ranks_are_those_that_the_log_states(tmp_path, logged, ranks):
    """A log that counts accelerators as nodes is not multiplied by the description's accelerators per node."""
    entry = only_entry(write_round(tmp_path, [run(100 * number, **logged) for number in range(5)]))
    assert entry.num_ranks == ranks


def openfold_run(start_s: float) -> Log:
    log = Log(start_s, "openfold", train_samples=500_000, number_of_ranks=8)
    log.event(0, "run_start")
    for number in range(1, 4):
        log.epoch(number, 10 * number, 0.7 + 0.05 * number, epoch_num=50_000 * number)
    log.event(40, "run_stop", None, status="success")
    return log


def test_openfold_counts_samples_and_not_epochs(tmp_path):
    logs = [openfold_run(100 * number) for number in range(10)]
    entry = only_entry(write_round(tmp_path, logs, benchmark="openfold", name="hpc_results_v3.0"))
    assert entry.epochs == pytest.approx(150_000 / 500_000)
    assert entry.samples_per_s == pytest.approx(150_000 / 40)


def test_an_unknown_device_and_repeated_results_are_reported(tmp_path):
    logs = [run(100 * number, number_of_ranks=128) for number in range(5)]
    known = write_round(tmp_path, logs)
    again = write_round(tmp_path / "later", logs)
    odd = write_round(tmp_path / "odd", logs, description=DESCRIPTION | {"accelerator_model_name": "Chip 7"})
    entries, left_out = facts_of_rounds([known, again, odd], known_devices())
    assert len(entries) == 1
    assert "published before with the same logs" in left_out[0]
    assert "unknown device 'Chip 7'; describe it with --devices FILE" in left_out[1]


def test_the_command_writes_the_table(tmp_path, capsys):
    folder = write_round(tmp_path, [run(100 * number, number_of_ranks=128) for number in range(5)])
    assert from_logs.main([str(folder), "--output", str(tmp_path / "table.csv")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/table.csv: 1 entries\n"
