# SPDX-License-Identifier: Apache-2.0
"""A source that two nodes share: they see its files, at a rate that both together do not exceed."""

import time
from pathlib import Path

import pytest

from perf import shaped_link, shared_source, staging

NUM_BYTES = 3_000_000
RATE, RATE_BYTES_PER_S = "40mbit", 40e6 / 8
BURST_BYTES = 300_000


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/text").write_text("0123456789" * (NUM_BYTES // 10))
    return tmp_path / "data"


def test_two_nodes_share_the_rate_of_the_source(folder):
    if reason := shared_source.missing():
        pytest.skip(reason)
    with shared_source.shared_source(folder, source_rate=RATE, node_rate="1gbit") as (nodes, source):
        programs = [source.mounted(rank, ["cat", str(mount / "text")]) for rank, mount in enumerate(source.mounts)]
        start = time.perf_counter()
        assert nodes.run(programs) == [(folder / "text").read_text()] * 2
        seconds = time.perf_counter() - start
        assert 2 * NUM_BYTES < source.bytes_sent() < 2.5 * NUM_BYTES
        assert not any(list(mount.iterdir()) for mount in source.mounts)  # mounted for the programs alone
    assert seconds > (2 * NUM_BYTES - BURST_BYTES) / RATE_BYTES_PER_S
    assert str(source.namespace) not in shaped_link.ip("netns", "list")


def test_without_the_tools_the_figure_is_left_out_with_the_reason(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(shared_source, "missing", lambda: "sshfs and openssh-sftp-server not found")
    assert staging._shared(tmp_path) == []
    expected = "not measured: staging from a shared source: sshfs and openssh-sftp-server not found\n"
    assert capsys.readouterr().err == expected
