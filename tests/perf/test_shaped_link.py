# SPDX-License-Identifier: Apache-2.0
"""A link between two network namespaces has the rate that was asked for; a machine without them is told why."""

import subprocess
import sys

import pytest

from perf import __main__ as perf_command
from perf import communication, shaped_link

RATE_BYTES_PER_S = 200e6 / 8
NUM_BYTES = 16_000_000

PROGRAM = """
import os, time, torch, torch.distributed as dist
from harness.distributed.world import launch
with launch() as world:
    tensor = torch.ones({num_bytes} // 4)
    dist.all_reduce(tensor)
    world.barrier()
    start = time.perf_counter()
    dist.all_reduce(tensor)
    print(time.perf_counter() - start, float(tensor[-1]))
"""


def test_the_link_carries_what_its_rate_allows():
    if reason := shaped_link.missing():
        pytest.skip(reason)
    program = [sys.executable, "-c", PROGRAM.format(num_bytes=NUM_BYTES)]
    with shaped_link.shaped_link(rate="200mbit") as link:
        printed = link.run([program, program])
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        assert all(namespace in names for namespace in link.namespaces)
    seconds, total = map(float, printed[0].split())
    assert total == 4.0  # two ranks, summed twice
    assert seconds > 0.8 * NUM_BYTES / RATE_BYTES_PER_S  # a ring of two sends each rank's bytes once
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert not any(namespace in names for namespace in link.namespaces)


def test_a_machine_without_namespaces_is_told_why(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(communication, "missing", lambda: "network namespaces need root")
    monkeypatch.setattr(perf_command.page, "write", lambda records, page: None)
    assert perf_command.main(["communication", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "not measured: communication: network namespaces need root\n"
    assert not list(tmp_path.iterdir())
