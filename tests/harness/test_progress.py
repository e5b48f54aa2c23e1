# SPDX-License-Identifier: Apache-2.0
"""The bar of an epoch: on a terminal only, and without a wait for the device in each step."""

import os
import re
import sys
from contextlib import suppress

import pytest
from rich.console import Console

from harness import progress
from harness.progress import show_progress


class Loss:
    """Counts how often its value is read."""

    def __init__(self) -> None:
        self.num_reads = 0

    def __float__(self) -> float:
        self.num_reads += 1
        return 0.25


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(progress, "Console", lambda **options: Console(**options, force_terminal=True, width=120))


def steps(loss: Loss, **options) -> progress.Progress:
    with show_progress("epoch 1", 50, **options) as bar:
        for _ in range(50):
            bar.update(num_samples=4, loss=loss)
    return bar


def test_silent_where_stderr_is_no_terminal(capfd):
    loss = Loss()
    assert steps(loss).num_samples == 200
    assert loss.num_reads == 0
    assert capfd.readouterr() == ("", "")


def test_silent_on_other_ranks(terminal, capfd):
    loss = Loss()
    steps(loss, visible=False)
    assert loss.num_reads == 0
    assert capfd.readouterr() == ("", "")


def test_loss_is_read_now_and_then_only(terminal, capfd):
    loss = Loss()
    steps(loss)
    assert loss.num_reads < 10


def test_throughput_and_loss_are_shown(terminal, capfd, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOSSES", 0)
    steps(Loss(), num_ranks=2)
    printed = capfd.readouterr().err
    assert "epoch 1" in printed
    assert "samples/s" in printed
    assert "loss 0.25" in printed


def test_time_runs(monkeypatch):
    with show_progress("epoch 1", None) as bar:
        first = bar.seconds
        assert bar.seconds > first >= 0


def test_tracked_is_silent_without_a_terminal(capfd):
    assert list(progress.tracked(iter("abc"), "spelling", total=3)) == ["a", "b", "c"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("letters", "options"), [("abc", {}), (iter("abc"), {"total": 3})])
def test_drawn_on_a_terminal(terminal, capfd, letters, options):
    assert list(progress.tracked(letters, "spelling", **options)) == ["a", "b", "c"]
    drawn = capfd.readouterr().err
    assert "spelling" in drawn
    assert "3/3" in drawn


def test_what_was_done_before_counts(terminal, capfd):
    with progress.counted("preparing", 9, done=4) as advance:
        advance()
    assert "5/9" in capfd.readouterr().err


def test_a_line_takes_the_place_of_the_bar_in_the_output_file_of_a_job(capfd, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    steps(Loss())
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 50
    assert re.fullmatch(r"epoch 1, step 2 of 50: loss 0.25, [\d,.]+ samples/s, 0.0 minutes", lines[1])


def test_a_standard_output_that_has_gone_away_is_no_error(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        progress.print_line("a line")
        monkeypatch.undo()
        with suppress(BrokenPipeError):
            gone.close()
