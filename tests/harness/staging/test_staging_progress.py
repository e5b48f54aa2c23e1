# SPDX-License-Identifier: Apache-2.0
"""Without a terminal, staging prints a line now and then, so that a job's output file shows that it goes on."""

from harness.staging import staging_progress


def test_a_line_says_how_much_is_there_and_how_long_the_rest_takes(monkeypatch, capsys):
    times = iter([0.0, 30.0, 60.0, 61.0, 120.0])
    monkeypatch.setattr(staging_progress.time, "monotonic", lambda: next(times))
    with staging_progress.shown(10**10) as advance:
        for num_bytes in (10**9, 2 * 10**9, 10**9, 10**9):
            advance(num_bytes)
    assert capsys.readouterr().err.splitlines() == [
        "staging: 3.000 of 10.000 GB on the first node, 0.050 GB/s, about 2 minutes left",
        "staging: 5.000 of 10.000 GB on the first node, 0.042 GB/s, about 2 minutes left",
    ]


def test_only_one_node_prints(monkeypatch, capsys):
    monkeypatch.setattr(staging_progress, "SECONDS_BETWEEN_LINES", 0)
    with staging_progress.shown(10, visible=False) as advance:
        advance(5)
    assert capsys.readouterr().err == ""
