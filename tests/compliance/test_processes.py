# SPDX-License-Identifier: Apache-2.0
"""Shares of work, and the processes that take them."""

import signal
import threading

import pytest

from compliance import processes
from compliance.processes import forked, num_children, shares


@pytest.mark.parametrize("num_shares", [1, 2, 3, 8])
def test_every_item_is_in_one_share(num_shares):
    parts = shares("abcdefg", [5, 1, 1, 9, 2, 2, 3], num_shares)
    assert len(parts) == num_shares
    assert sorted(item for part in parts for item in part) == list("abcdefg")


def test_shares_are_of_about_one_size():
    sizes = {"largest": 41, "large": 17, "other": 8, **{f"small {number}": 2 for number in range(17)}}
    loads = [sum(sizes[name] for name in part) for part in shares(list(sizes), list(sizes.values()), 2)]
    assert sum(loads) == 100
    assert max(loads) - min(loads) <= 2


def test_children_return_their_bytes():
    with forked(lambda share: bytes(share), [[1, 2], [3], []]) as children:
        assert [child.result() for child in children] == [b"\x01\x02", b"\x03", b""]


def test_a_process_with_threads_is_not_forked(monkeypatch):
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda pid: range(4))
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert num_children() == 0
    finally:
        done.set()
        thread.join()


def test_a_process_that_ignores_the_ends_of_its_children_has_none(monkeypatch, tmp_path):
    (tmp_path / "1").mkdir()
    monkeypatch.setattr(processes, "THREADS", tmp_path)
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda pid: range(4))
    assert num_children() == 3
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert num_children() == 0
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_fork_that_is_refused_is_a_child_that_failed(monkeypatch):
    def refuse():
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(processes.os, "fork", refuse)
    with forked(lambda share: b"never", [[1], [2]]) as children:
        assert [child.result() for child in children] == [None, None]


def test_without_proc_nothing_is_forked(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "THREADS", tmp_path / "absent")
    assert num_children() == 0


def test_one_child_for_each_further_core(monkeypatch, tmp_path):
    (tmp_path / "1").mkdir()
    monkeypatch.setattr(processes, "THREADS", tmp_path)
    for cores, expected in ((1, 0), (2, 1), (64, processes.MAX_CHILDREN)):
        monkeypatch.setattr(processes.os, "sched_getaffinity", lambda pid, cores=cores: range(cores))
        assert num_children() == expected
