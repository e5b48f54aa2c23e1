# SPDX-License-Identifier: Apache-2.0
"""Storage: all bytes are counted, depth and clients add up, no file stays behind, unusable folders are refused."""

import json
import os
from argparse import Namespace

import pytest

from characterize.commands import storage
from characterize.measure import file_access, sample_formats, storage_tests
from characterize.measure.file_access import (
    Transfer,
    fio,
    read_blocks,
    read_direct,
    write_blocks,
    write_direct,
)
from characterize.measure.io_tests import Clients, IoTest, Work, time_all
from characterize.results.result import CharacterizeError

BLOCK = 4096


def options(folder, **changed):
    settings = {"folder": folder, "size_mib": 8, "benchmark": None, "clients": 1, "beyond_memory": False, "full": False}
    return Namespace(**(settings | changed))


@pytest.fixture
def no_formats(monkeypatch):
    monkeypatch.setattr(sample_formats, "format_tests", lambda work, names: [])


def test_reads_writes_and_checkpoints_are_timed(tmp_path, no_formats):
    result = storage.measure(options(tmp_path))
    rows = {(row["test"].split(",")[0], row["state"]): row for row in result.data["rows"]}
    expected = [(name, state) for name in ("sequential read", "random read") for state in ("cold", "warm")]
    expected += [("read of small files", "cold"), ("sequential write", "with fsync")]
    expected += [("checkpoint", "with fsync"), ("checkpoint", "restore, cold")]
    depths = [f"direct, depth {depth}" for depth in storage_tests.DEPTHS]
    expected += [(name, state) for name in ("sequential read", "random read", "sequential write") for state in depths]
    assert set(expected) <= set(rows)
    assert all(row["bytes_per_s"] > 0 for row in rows.values() if "error" not in row)
    assert list(tmp_path.iterdir()) == [], "the files are deleted"
    assert len(next(storage.tables(result)).rows) == len(result.data["rows"])
    assert list(storage.figures(result)) == ["storage"]


def test_clients_measure_together(tmp_path):
    """Two processes, each with files of its own: their bytes are added over the time of the slower one."""
    plan = options(tmp_path, clients=2, size_mib=4, benchmark=["cosmoflow"])
    result = storage.measure(plan)
    row = next(row for row in result.data["rows"] if row["test"].startswith("sequential read"))
    assert row["num_files"] == 2
    assert result.settings["clients"] == 2
    assert "2 clients together" in next(storage.tables(result)).title
    assert list(tmp_path.iterdir()) == []


def test_a_file_beyond_the_memory_is_read_again(tmp_path, no_formats, monkeypatch):
    monkeypatch.setattr(storage.psutil, "virtual_memory", lambda: Namespace(total=8 << 20))
    result = storage.measure(options(tmp_path, size_mib=4, beyond_memory=True))
    assert result.settings["beyond_memory"] == 10 << 20
    states = [row["state"] for row in result.data["rows"] if row["test"].endswith("more than the memory")]
    assert states == ["cold", "read again"]


def test_blocks_are_read_and_written_whole(tmp_path):
    path = tmp_path / "file"
    assert write_blocks(path, 4, os.urandom(BLOCK)).num_bytes == path.stat().st_size == 4 * BLOCK
    assert read_blocks(path, range(0, 4 * BLOCK, BLOCK), BLOCK).num_bytes == 4 * BLOCK
    assert read_blocks(path, [0, 2 * BLOCK], BLOCK).num_bytes == 2 * BLOCK


@pytest.mark.parametrize("depth", [1, 3, 16])
def test_direct_io_moves_every_block_once_at_any_depth(tmp_path, depth):
    path, offsets = tmp_path / "file", range(0, 8 * BLOCK, BLOCK)
    try:
        written = write_direct(path, offsets, BLOCK, depth)
    except OSError:
        pytest.skip("this file system has no direct I/O")
    assert written.num_bytes == path.stat().st_size == 8 * BLOCK
    assert read_direct(path, offsets, BLOCK, depth).num_bytes == 8 * BLOCK


def test_requests_of_direct_io_are_in_flight_together(tmp_path, monkeypatch):
    """With depth 4, four reads that each wait for the others end; with depth 1 they would wait forever."""
    from threading import Barrier

    path = tmp_path / "file"
    write_blocks(path, 4, bytes(BLOCK))
    barrier = Barrier(4, timeout=20)

    def wait_and_read(descriptor, buffers, offset):
        barrier.wait()
        return BLOCK

    monkeypatch.setattr(file_access.os, "preadv", wait_and_read)
    assert read_direct(path, range(0, 4 * BLOCK, BLOCK), BLOCK, 4).num_bytes == 4 * BLOCK


def test_fio_is_asked_for_depth_and_its_rate_is_taken(tmp_path, monkeypatch):
    program = tmp_path / "fio"
    answer = {"jobs": [{"read": {"io_bytes": 1000, "bw_bytes": 500}, "write": {"io_bytes": 0, "bw_bytes": 0}}]}
    program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\necho '{json.dumps(answer)}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert file_access.has_fio()
    sizes = {"file_bytes": 4000, "moved_bytes": 1000, "block_bytes": 100, "depth": 7}
    assert fio(tmp_path / "file", pattern="read", **sizes) == Transfer(num_bytes=1000, seconds=2.0)
    asked = (tmp_path / "asked").read_text()
    assert all(word in asked for word in ("--iodepth=7", "--direct=1", "--rw=read", "--bs=100"))
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(OSError, match="fio: broken"):
        fio(tmp_path / "file", pattern="read", **sizes)


def test_a_file_system_without_direct_io_is_stated(tmp_path):
    def refuse():
        raise OSError(22, "Invalid argument")

    path = tmp_path / "file"
    path.write_bytes(b"x" * BLOCK)
    works = {"cold": Work(run=lambda: Transfer(num_bytes=BLOCK)), "direct, depth 1": Work(run=refuse)}
    rows = list(time_all(IoTest(name="r", paths=(path,), works=works), 2, Clients()))
    assert [row["state"] for row in rows] == ["cold", "direct, depth 1"]
    assert rows[-1]["error"] == "Invalid argument"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"folder": "nowhere"}, "not a writable folder"),
        ({"size_mib": 0}, "expected at least 1"),
        ({"size_mib": 1 << 40}, "MiB free"),
        ({"clients": 0}, "--clients: found 0, expected at least 1"),
        ({"benchmark": ["cosmoflo"]}, "did you mean cosmoflow"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, changed, said):
    changed = changed | ({"folder": tmp_path / changed["folder"]} if "folder" in changed else {})
    with pytest.raises(CharacterizeError, match=said):
        storage.measure(options(**({"folder": tmp_path} | changed)))


def test_a_benchmarks_own_files_through_its_own_loader(tmp_path, monkeypatch):
    small = sample_formats.Format(
        arguments=("--train", "3", "--validation", "1", "--size", "8"),
        reference_arguments=("--train", "2", "--validation", "1", "--size", "16"),
        batches=sample_formats.FORMATS["cosmoflow"].batches,
        samples="8^3",
        reference_samples="16^3",
    )
    monkeypatch.setitem(sample_formats.FORMATS, "cosmoflow", small)
    test = sample_formats.prepared("cosmoflow", tmp_path / "data")
    assert len(test.paths) == 3
    num_bytes = test.works["warm"].run().num_bytes
    assert num_bytes == sum(path.stat().st_size for path in test.paths)
    large = sample_formats.prepared("cosmoflow", tmp_path / "large", reference_size=True)
    assert large.name == "CosmoFlow, 16^3"
    assert large.works["warm"].run().num_bytes / 2 > num_bytes / 3
