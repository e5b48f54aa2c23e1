# SPDX-License-Identifier: Apache-2.0
"""The time split: against hand-made clocks, and against the shares that the MLPerf HPC paper names in section 4.1."""

import pytest

from compliance import mllog
from compliance.checks import rules_for
from compliance.rulesets import ruleset
from compliance.scoring.phases import mean_phases, run_phases
from compliance.scoring.score import score_entry
from compliance.submissions import reader

MINUTE_MS = 60_000


def log_of(tmp_path, *events):
    """Phases of (minute, key) events."""
    file = tmp_path / "result_0.txt"
    line = ':::MLLOG {{"key": "{1}", "time_ms": {0}, "event_type": "INTERVAL_START", "value": null}}\n'
    file.write_text("".join(line.format(1_600_000_000_000 + minute * MINUTE_MS, key) for minute, key in events))
    return mllog.read(file)


def test_every_minute_is_counted_once(tmp_path):
    phases = run_phases(
        log_of(
            tmp_path,
            (0, "run_start"),
            (1, "staging_start"),
            (4, "staging_stop"),
            (5, "epoch_start"),
            (11, "eval_start"),
            (13, "eval_stop"),
            (15, "epoch_stop"),
            (20, "run_stop"),
        )
    )
    assert phases.parts == (3, 8, 2, 7)
    assert phases.total_minutes == 20


def test_time_off_the_clock_does_not_count(tmp_path):
    events = [(0, "staging_start"), (6, "run_start"), (8, "staging_stop"), (8, "epoch_start"), (10, "run_stop")]
    assert run_phases(log_of(tmp_path, *events)).parts == (2, 2, 0, 0)


def test_evaluation_behind_an_epoch_is_evaluation(tmp_path):
    events = [(0, "run_start"), (0, "epoch_start"), (3, "epoch_stop"), (3, "eval_start"), (5, "eval_stop")]
    assert run_phases(log_of(tmp_path, *events, (5, "run_stop"))).parts == (0, 3, 2, 0)


@pytest.mark.parametrize("events", [[], [(0, "run_start")], [(5, "run_start"), (1, "run_stop")]])
def test_without_a_clock_there_is_no_split(tmp_path, events):
    assert run_phases(log_of(tmp_path, *events)) is None


@pytest.mark.parametrize(
    ("org", "system", "benchmark", "phase", "percent"),
    [
        ("Fujitsu", "abci_512xV100_tensorflow_closed", "cosmoflow", "staging_minutes", 2.2),
        ("Fujitsu", "abci_2048xV100_tensorflow_open", "cosmoflow", "staging_minutes", 1.5),
        ("Fujitsu", "abci_1024xV100_pytorch_closed", "deepcam", "evaluation_minutes", 4.0),
        ("Fujitsu", "abci_1024xV100_fjpytorch_open", "deepcam", "evaluation_minutes", 1.3),
        ("LBNL", "corigpu_n64_pt1.6.0", "deepcam", "evaluation_minutes", 36.3),
    ],
)
def test_published_shares(published_results, org, system, benchmark, phase, percent):
    rules = ruleset.load("mlperf_hpc_0.7")
    folder = published_results / "hpc_results_v0.7" / org / "results" / system / benchmark
    (entry,) = reader.read(folder).entries
    dropped = score_entry(entry, rules_for(entry, rules)).dropped
    mean = mean_phases(run_phases(log) for log in entry.runs if log.path.name not in dropped)
    assert 100 * getattr(mean, phase) / mean.total_minutes == pytest.approx(percent, abs=0.15)
