# SPDX-License-Identifier: Apache-2.0
"""Storage: all bytes are counted, no file is left behind, and unusable folders are refused."""

from argparse import Namespace

import pytest

from characterize.commands import storage
from characterize.measure import sample_formats
from characterize.measure.file_reads import ReadTest, read_blocks, time_all
from characterize.results.result import CharacterizeError


def options(folder, **changed):
    return Namespace(**({"folder": folder, "size_mib": 1, "benchmark": None, "full": False} | changed))


@pytest.fixture
def no_formats(monkeypatch):
    monkeypatch.setattr(sample_formats, "reads", lambda work, names: [])


def test_plain_reads_are_timed_cold_and_warm(tmp_path, no_formats):
    result = storage.measure(options(tmp_path))
    rows = {(row["read"].split(",")[0], row["state"]): row for row in result.data["rows"]}
    assert set(rows) >= {
        (read, state) for read in ("sequential", "random", "small files") for state in ("cold", "warm")
    }
    assert all(row["bytes_per_s"] > 0 for row in rows.values() if "error" not in row)
    assert list(tmp_path.iterdir()) == [], "the files it read are gone"
    assert len(next(storage.tables(result)).rows) == len(result.data["rows"])
    assert list(storage.figures(result)) == ["storage"]


def test_blocks_are_read_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 64)
    assert read_blocks(path, range(0, 16384, 4096), 4096) == 16384
    assert read_blocks(path, [0, 8192], 4096) == 8192


def test_a_file_system_without_direct_reads_is_told(tmp_path):
    def refuse():
        raise OSError(22, "Invalid argument")

    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096)
    rows = list(time_all(ReadTest(name="r", paths=(path,), read=lambda: 4096, direct=refuse), repeats=2))
    assert [row["state"] for row in rows] == ["cold", "warm", "direct"]
    assert rows[-1]["error"] == "Invalid argument"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"folder": "nowhere"}, "not a writable folder"),
        ({"size_mib": 0}, "expected at least 1"),
        ({"size_mib": 1 << 40}, "MiB free"),
    ],
)
def test_what_cannot_be_measured_is_told(tmp_path, changed, said):
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
    read = sample_formats.prepared("cosmoflow", tmp_path / "data")
    assert len(read.paths) == 3
    assert read.read() == sum(path.stat().st_size for path in read.paths)
    large = sample_formats.prepared("cosmoflow", tmp_path / "large", reference_size=True)
    assert large.name == "CosmoFlow, 16^3"
    assert large.read() / 2 > read.read() / 3
