# SPDX-License-Identifier: Apache-2.0
"""Staged data are the source's, byte for byte, read once in all; what is not whole and checked has no name."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import zstandard

from harness.archive import archive
from harness.data.manifest import Manifest, Split, describe
from harness.staging import stage as stage_module
from harness.staging import units
from harness.staging.partial_copy import PartialCopy
from harness.staging.stage import stage
from harness.staging.units import Source, StagingError

ROOT = Path(__file__).parents[3]
SIZES = {
    "train/small_0": 10,
    "train/small_1": 700,
    "train/empty": 0,
    "train/large": 300_000,
    "validation/other": 70_000,
}


@pytest.fixture
def source(tmp_path) -> Path:
    """A data set of small, empty and large files; units of 64 KiB cut the large ones."""
    folder = tmp_path / "source"
    for name, size in SIZES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size])
    splits = {}
    for split in ("train", "validation"):
        files = tuple(describe(folder, folder / name) for name in SIZES if name.startswith(split))
        splits[split] = Split(num_samples=len(files), files=files)
    description = {"format": "numpy", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
    Manifest(benchmark="toy", synthetic=True, splits=splits, **description).save(folder)
    return folder


@pytest.fixture(autouse=True)
def small_units(monkeypatch):
    monkeypatch.setattr(stage_module, "UNIT_BYTES", units.MIN_UNIT_BYTES)
    monkeypatch.setattr(archive, "FRAME_BYTES", 1000)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_staged_data_set_is_the_source(source, tmp_path):
    target = stage(source, tmp_path / "node" / "data")
    assert tree(target) == tree(source)
    assert [path.name for path in target.parent.iterdir()] == ["data"]


def test_archives_are_unpacked_while_they_arrive(source, tmp_path):
    archive.pack(source, tmp_path / "packed")
    target = stage(tmp_path / "packed", tmp_path / "node" / "data")
    assert tree(target) == tree(source)


def test_an_archive_is_an_ordinary_one(source, tmp_path):
    archive.pack(source, tmp_path / "packed")
    with (
        (tmp_path / "packed/part_00000.tar.zst").open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as stream,
        tarfile.open(fileobj=stream, mode="r|") as members,
    ):
        members.extractall(tmp_path / "unpacked", filter="data")
    assert tree(tmp_path / "unpacked") == {name: (source / name).read_bytes() for name in SIZES}


def test_one_frame_gives_one_file_without_the_others(source, tmp_path):
    index = archive.pack(source, tmp_path / "packed")
    frame = next(frame for frame in index.frames if frame.members[0].path == "validation/other")
    with (tmp_path / "packed" / frame.archive).open("rb") as packed:
        packed.seek(frame.offset)
        (content,) = archive.contents(frame, packed.read(frame.bytes))
    assert bytes(content) == (source / "validation/other").read_bytes()


def test_a_packed_data_set_is_opened_without_unpacking_all_of_it(source, tmp_path):
    archive.pack(source, tmp_path / "packed")
    with archive.opened(tmp_path / "packed", "validation") as folder:
        assert tree(folder) == {name: (source / name).read_bytes() for name in ("validation/other", "manifest.json")}
    assert not folder.exists()
    with archive.opened(source, "validation") as folder:
        assert folder == source


def test_a_file_that_is_in_no_archive_is_named(source, tmp_path):
    archive.pack(source, tmp_path / "packed")
    with pytest.raises(archive.ArchiveError, match="train/other: in no archive of"):
        archive.extract(tmp_path / "packed", ["train/large", "train/other"], tmp_path / "some")
    assert (tmp_path / "some/train/large").read_bytes() == (source / "train/large").read_bytes()


def test_staging_that_was_stopped_reads_only_what_is_missing(source, tmp_path):
    target = tmp_path / "data"
    opened = Source.open(source, max_unit_bytes=units.MIN_UNIT_BYTES)
    with PartialCopy(opened, target) as partial_copy:
        for number in partial_copy.missing[:-1]:
            partial_copy.take(number, opened.read(opened.units[number]))
    assert not target.exists()
    whole = tree(source)
    (source / "train/large").unlink()
    assert tree(stage(source, target)) == whole


def deleted(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def replaced_by_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [deleted, cut, grown, flipped, replaced_by_a_link])
@pytest.mark.parametrize("name", ["train/small_1", "train/large"])
def test_a_copied_file_that_is_changed_before_staging_continues_arrives_again(source, tmp_path, change, name):
    opened = Source.open(source, max_unit_bytes=units.MIN_UNIT_BYTES)
    with PartialCopy(opened, tmp_path / "data") as partial_copy:
        for number in partial_copy.missing[:-1]:
            partial_copy.take(number, opened.read(opened.units[number]))
    change(tmp_path / "data.partial" / name)
    assert tree(stage(source, tmp_path / "data")) == tree(source)


def test_files_of_another_data_set_do_not_stay(source, tmp_path):
    (tmp_path / "data.partial/train").mkdir(parents=True)
    (tmp_path / "data.partial/train/other").write_text("of another data set")
    assert tree(stage(source, tmp_path / "data")) == tree(source)


def test_two_processes_do_not_stage_to_one_place(source, tmp_path):
    with PartialCopy(Source.open(source), tmp_path / "data"), pytest.raises(StagingError, match="another process"):
        stage(source, tmp_path / "data")


def test_what_is_there_already_is_not_read_again(source, tmp_path):
    target = stage(source, tmp_path / "data")
    for name in SIZES:
        (source / name).unlink()
    assert stage(source, target) == target


@pytest.mark.parametrize("packed", [False, True])
def test_damage_at_the_source_is_found(source, tmp_path, packed):
    folder = source
    if packed:
        folder = tmp_path / "packed"
        archive.pack(source, folder)
        broken = folder / "part_00000.tar.zst"
    else:
        broken = source / "train/large"
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    with pytest.raises(StagingError, match=r"sha256: found|frame at byte"):
        stage(folder, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_source_that_cannot_be_read_is_named(source, tmp_path):
    (source / "validation/other").unlink()
    with pytest.raises(StagingError, match="validation/other: cannot be read: No such file"):
        stage(source, tmp_path / "data")
    (source / "validation/other").write_bytes(b"cut off")
    with pytest.raises(StagingError, match="validation/other: found 7 bytes"):
        stage(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_another_data_set_is_not_overwritten(source, tmp_path):
    target = tmp_path / "data"
    target.mkdir()
    (target / "precious").write_text("as it was")
    with pytest.raises(StagingError, match="no manifest"):
        stage(source, target)
    shutil.copy(source / "manifest.json", target)
    with pytest.raises(StagingError, match=r"(?s)train/small_0: cannot be read.*remove"):
        stage(source, target)
    assert (target / "precious").read_text() == "as it was"


def test_a_disk_without_space_is_refused_before_anything_is_written(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 10**3))
    with pytest.raises(StagingError, match=r"0\.000 GB are free, 0\.0\d+ GB are to come"):
        stage(source, tmp_path / "data")
    assert tree(tmp_path / "data.partial").keys() == {".lock"}
    assert not (tmp_path / "data").exists()


def test_large_files_do_not_go_into_archives(source, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 100_000)
    with pytest.raises(archive.ArchiveError, match="train/large: 300000 bytes"):
        archive.pack(source, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


NODE = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
from torch.distributed.distributed_c10d import _get_default_group
from harness.staging import direct_io, stage, units
from harness.distributed.world import launch
source, target, reads, pause, timeout_s = sys.argv[1:]
stage.UNIT_BYTES = units.MIN_UNIT_BYTES
plain = direct_io.read_range
def noting(path, offset, num_bytes):
    with open(reads, "a") as notes:
        notes.write(f"{path} {offset}\\n")
    time.sleep(float(pause))
    return plain(path, offset, num_bytes)
direct_io.read_range = noting
with launch(timeout_minutes=1) as world:
    _get_default_group().set_timeout(timedelta(seconds=float(timeout_s)))
    try:
        stage.stage(Path(source), Path(target), world=world)
    except units.StagingError as error:
        sys.exit(f"StagingError: {error}")
"""


@pytest.fixture
def nodes(source, tmp_path):
    """Start two nodes that stage together, each to $NODE/data; returns the processes of all ranks."""
    started = []

    def start(pause: float = 0, *, ranks_per_node: int = 1, timeout_s: float = 60) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        num_ranks = 2 * ranks_per_node
        world = {"WORLD_SIZE": num_ranks, "LOCAL_WORLD_SIZE": ranks_per_node, "MASTER_ADDR": "127.0.0.1"}
        common = {**world, "MASTER_PORT": port, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": 1}
        line = [sys.executable, "-c", NODE, source, "$NODE/data", tmp_path / "reads", pause, timeout_s]
        for rank in range(num_ranks):
            node, local_rank = divmod(rank, ranks_per_node)
            (tmp_path / f"node{node}").mkdir(exist_ok=True)
            own = {"RANK": rank, "LOCAL_RANK": local_rank, "GROUP_RANK": node, "NODE": tmp_path / f"node{node}"}
            environment = os.environ | {name: str(value) for name, value in (common | own).items()}
            arguments = [str(argument) for argument in line]
            started.append(subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True))
        return started[-num_ranks:]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_two_nodes_read_each_byte_once_in_all(source, tmp_path, nodes):
    for process in nodes():
        _, printed = process.communicate(timeout=60)
        assert process.returncode == 0, printed
    assert tree(tmp_path / "node0/data") == tree(tmp_path / "node1/data") == tree(source)
    reads = (tmp_path / "reads").read_text().splitlines()
    assert len(reads) == len(set(reads)) > len(SIZES)


def test_staging_may_take_longer_than_collectives_of_the_world(source, tmp_path, nodes):
    for process in nodes(pause=2, ranks_per_node=2, timeout_s=0.5):
        _, printed = process.communicate(timeout=100)
        assert process.returncode == 0, printed
    assert tree(tmp_path / "node0/data") == tree(tmp_path / "node1/data") == tree(source)


def test_a_fault_of_one_node_ends_both_with_its_reason(source, tmp_path, nodes):
    (source / "validation/other").unlink()
    for process in nodes():
        _, printed = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "StagingError: node 1: " in printed
        assert "validation/other: cannot be read" in printed
    assert not list(tmp_path.glob("node*/data"))


def test_a_node_that_is_killed_ends_the_other_and_both_go_on_later(source, tmp_path, nodes):
    survivor, victim = nodes(pause=1)
    end = time.monotonic() + 60
    while not (tmp_path / "reads").exists() and time.monotonic() < end:
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    survivor.communicate(timeout=30)
    assert survivor.returncode not in (0, None)
    assert not list(tmp_path.glob("node*/data"))
    for process in nodes():
        assert process.wait(60) == 0
    assert tree(tmp_path / "node0/data") == tree(tmp_path / "node1/data") == tree(source)
