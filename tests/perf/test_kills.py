# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed at random moments are resumed without a difference; the script finds faults if there are any."""

import random
import signal

import pytest

from compliance import mllog
from harness.run import Run
from perf import kills


def test_a_sample_of_random_kills_and_signal_pairs(tmp_path):
    """Few, and one of them may be wrong: docs/reliability.md gives the rate of the fault that is not found yet."""
    outcomes = list(kills.attempts(tmp_path, 10, random.Random(7)))
    assert len(outcomes) == 10
    assert sum(outcome.startswith("wrong") for outcome in outcomes) <= 1


@pytest.fixture
def finished(tmp_path) -> kills.Attempt:
    """A run that came to its end in this process."""
    attempt = kills.Attempt(tmp_path / "run")
    kills.train(attempt.log, tmp_path / "run/final.json", resume=False)
    return attempt


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda text: text, ""),
        (lambda text: "", ""),
        (lambda text: text[:-20], "the log has a broken line"),
        (lambda text: text.replace('"key": "eval_stop"', '"key": "epoch_stop"', 1), "an interval ends that is not"),
        (lambda text: text.replace('"opt_name"', '"opt_game"', 1), "the chain of digests is broken"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-2]), "the log has no run_stop at its end"),
    ],
)
def test_faults_of_a_log_are_found(finished, edit, fault):
    finished.log.write_text(edit(finished.log.read_text()))
    assert kills.log_fault(finished.log, is_closed=True).startswith(fault)
    assert bool(kills.log_fault(finished.log, is_closed=True)) == bool(fault)


def test_a_signal_while_the_head_is_logged_leaves_a_legal_log(tmp_path, monkeypatch):
    def interrupted(run):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Run, "_drop_caches", interrupted)
    log = tmp_path / "result_0.txt"
    with pytest.raises(KeyboardInterrupt):
        kills.train(log, tmp_path / "final.json", resume=False)
    assert kills.log_fault(log, is_closed=True) == ""
    assert [event.key for event in mllog.read(log).events][-2:] == ["run_stop", "log_digest"]
