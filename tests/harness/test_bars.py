# SPDX-License-Identifier: Apache-2.0
"""Bars are drawn on a terminal only, and change nothing of what they count."""

import pytest
from rich.console import Console

from harness import bars


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(bars, "Console", lambda **options: Console(**options, force_terminal=True, width=120))


def test_silent_where_stderr_is_no_terminal(capfd):
    assert list(bars.tracked(iter("abc"), "spelling", total=3)) == ["a", "b", "c"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("letters", "options"), [("abc", {}), (iter("abc"), {"total": 3})])
def test_drawn_on_a_terminal(terminal, capfd, letters, options):
    assert list(bars.tracked(letters, "spelling", **options)) == ["a", "b", "c"]
    drawn = capfd.readouterr().err
    assert "spelling" in drawn
    assert "3/3" in drawn


def test_what_was_done_before_counts(terminal, capfd):
    with bars.counted("preparing", 9, done=4) as advance:
        advance()
    assert "5/9" in capfd.readouterr().err
