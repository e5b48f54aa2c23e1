# SPDX-License-Identifier: Apache-2.0
"""Times, epochs and qualities of small logs."""

import pytest

from compliance import mllog
from compliance.rulesets import ruleset
from compliance.run_log import Event, Metadata
from compliance.scoring.run_metrics import (
    best_evaluation,
    clock_text,
    converged,
    epoch_of,
    first_on_target,
    run_minutes,
    status_of,
    training_seconds,
    typical_seconds,
)

COSMOFLOW = ruleset.load("mlperf_hpc_2.0").benchmark("cosmoflow")


@pytest.fixture
def read(tmp_path):
    return lambda run: mllog.read(run.write(tmp_path / "result_0.txt"))


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "0m00s"),
        (2_052_000, "34m12s"),
        (1_800_001, "30m00.001s"),
        (14_400_000, "4h00m00s"),
        (14_400_250, "4h00m00.250s"),
        (-1_500, "-0m01.500s"),
        (999.6, "0m01s"),
    ],
)
def test_times_are_shown_as_people_say_them(time_ms, text):
    assert clock_text(time_ms) == text


@pytest.mark.parametrize(
    ("logged", "number"),
    [(3, 3), (0, 0), (3.0, 3), (3.5, None), ("3", None), (None, None), (True, None), (float("nan"), None), ([3], None)],
)
def test_epoch_numbers_are_whole(logged, number):
    assert epoch_of(Event(key="epoch_start", time_ms=0, metadata=Metadata(epoch_num=logged))) == number


def test_an_event_without_metadata_has_no_epoch():
    assert epoch_of(Event(key="epoch_start", time_ms=0)) is None


def test_a_run_is_timed_from_start_to_stop(read, run_log):
    run = run_log(num_epochs=2)
    run.shift(60_000, run.index("run_stop"))
    log = read(run)
    started, stopped = run.event("run_start")["time_ms"], run.event("run_stop")["time_ms"]
    assert run_minutes(log) == (stopped - started) / 60_000
    assert status_of(log) == "success"


def test_a_run_that_never_ended_has_no_time_and_did_not_converge(read, run_log):
    run = run_log(num_epochs=2)
    run.drop("run_stop")
    log = read(run)
    assert (run_minutes(log), status_of(log), converged(log, COSMOFLOW)) == (None, None, False)
    assert first_on_target(log, COSMOFLOW) is not None


def test_the_target_is_met_by_the_first_possible_evaluation_on_it(read, run_log):
    run = run_log(num_epochs=4)
    for nth, value in enumerate([float("nan"), -1.0, 0.124, 0.1]):
        run.set("eval_error", value, nth)
    log = read(run)
    assert first_on_target(log, COSMOFLOW).value == 0.124
    assert best_evaluation(log, COSMOFLOW).value == 0.1


def test_training_ends_where_evaluation_or_epoch_does(read, run_log):
    run = run_log(num_epochs=3)
    for key in ("eval_start", "eval_stop"):
        run.lines.pop(run.index(key, 1))
    epochs = training_seconds(read(run))
    lasted = [(run.event("epoch_stop", 1)["time_ms"] - run.event("epoch_start", 1)["time_ms"]) / 1000]
    assert [round(seconds, 3) for _, seconds in epochs][1:2] == lasted
    assert len(epochs) == 3
    assert typical_seconds(epochs) == sorted(seconds for _, seconds in epochs)[1]
    assert typical_seconds([]) == 0
