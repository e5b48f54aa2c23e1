# SPDX-License-Identifier: Apache-2.0
"""Turns alternate, warm-ups are not counted, and a row compares medians."""

import time

import pytest

from perf.turns import Times, in_turn, training_row


def test_turns_alternate_and_warm_ups_do_not_count():
    done = []
    works = {"ours": lambda: done.append("ours"), "peer": lambda: (done.append("peer"), time.sleep(0.02))}
    times = in_turn(works, num_warm_ups=1, num_turns=2)
    assert done == ["ours", "peer"] * 3
    assert [len(one.wall_s) for one in times.values()] == [len(one.cpu_s) for one in times.values()] == [2, 2]
    assert min(times["peer"].wall_s) >= 0.02  # sleeping takes wall time and almost no CPU time
    assert max(times["peer"].cpu_s) < 0.02


def test_a_row_compares_the_medians_as_rates():
    ours = Times(wall_s=[0.5, 9.0, 0.4], cpu_s=[1.0, 1.0, 1.0])
    peer = Times(wall_s=[1.0, 1.0, 1.0], cpu_s=[2.0, 2.0, 2.0])
    row = training_row("in bf16", ours, peer, batch_size=4, flops=10**9, peak=32e9)
    assert (row.what, row.unit, row.ours, row.peer) == ("training, in bf16", "samples/s", 8.0, 4.0)
    assert row.ratio == pytest.approx(2.0)
    assert row.peak_share == pytest.approx(0.25)
    assert row.note == "batch 4; 8 of 32 GFLOP/s; CPU-s per sample 0.25, peer 0.5"
