# SPDX-License-Identifier: Apache-2.0
"""Data sets from other people's disks: unsafe manifests, indexes, archives and files are refused in one line."""

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from compliance.files.errors import UserError
from harness.archive import archive
from harness.archive.__main__ import main as archive_command
from harness.data import manifest
from harness.data.manifest import Manifest, Split, describe
from harness.staging.stage import stage

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def source(tmp_path) -> Path:
    """A data set of two files below a folder of its own."""
    folder = tmp_path / "in" / "source"
    for name in ("train/a", "validation/b"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(CONTENT)
    splits = {
        name.split("/")[0]: Split(num_samples=1, files=(describe(folder, folder / name),))
        for name in ("train/a", "validation/b")
    }
    description = {"format": "numpy", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
    Manifest(benchmark="toy", synthetic=True, splits=splits, **description).save(folder)
    return folder


@pytest.fixture
def packed(source) -> Path:
    archive.pack(source, source.with_name("packed"))
    return source.with_name("packed")


def edit(path: Path, change: Callable[[dict], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def refused(folder: Path, target: Path, match: str) -> None:
    """Staging is refused in one line, and nothing appears outside the target."""
    root = folder.parents[1]
    before = everything(root)
    with pytest.raises(UserError, match=match) as refusal:
        stage(folder, target)
    assert str(refusal.value).count("\n") == 0
    assert {path for path in everything(root) - before if not path.is_relative_to(f"{target}.partial")} == set()


@pytest.mark.parametrize(
    "path", ["/etc/x", "../x", "train/../../x", "", ".", "train//a", "train/", ".journal", "a\0b", "manifest.json"]
)
def test_a_path_that_leaves_the_folder_or_is_reserved_is_refused(source, tmp_path, path):
    edit(source / "manifest.json", lambda values: values["splits"]["train"]["files"][0].update(path=path))
    refused(source, tmp_path / "target", "manifest.json: path: ")


def test_a_path_listed_twice_is_refused(source, tmp_path):
    edit(source / "manifest.json", lambda values: values["splits"]["train"]["files"][0].update(path="validation/b"))
    refused(source, tmp_path / "target", "'validation/b' is listed twice")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda values: values["splits"]["train"]["files"][0].update(bytes=-1), r"bytes|>= 0"),
        (lambda values: values["splits"]["train"].update(num_samples=-3), ">= 0"),
        (lambda values: values.update(arrays={"x": {"dtype": "int16", "shape": [-1]}}), ">= 0"),
        (lambda values: values["provenance"].update(node_part="x"), "node_part"),
        (lambda values: values["provenance"].update(node_part=3, num_node_parts=2), "node_part"),
    ],
    ids=["bytes", "samples", "shape", "node part", "index of node part"],
)
def test_impossible_numbers_are_refused(source, tmp_path, change, match):
    edit(source / "manifest.json", change)
    refused(source, tmp_path / "target", match)


def test_a_size_beyond_the_file_is_refused_before_units_are_cut(source, tmp_path):
    edit(source / "manifest.json", lambda values: values["splits"]["train"]["files"][0].update(bytes=10**17))
    refused(source, tmp_path / "target", "train/a: size: found 10240 bytes, expected 100000000000000000")


def test_deep_nesting_is_refused(source):
    (source / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"manifest.json: not valid"):
        Manifest.load(source)


def test_a_pipe_for_a_manifest_is_refused_at_once(source):
    (source / "manifest.json").unlink()
    os.mkfifo(source / "manifest.json")
    with pytest.raises(UserError, match=r"manifest.json: cannot be read: it is not a regular file"):
        Manifest.load(source)


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("replace", [replace_by_fifo, replace_by_link])
def test_only_regular_files_count_as_files_of_a_data_set(source, replace):
    replace(source / "train/a")
    with pytest.raises(UserError, match="train/a: not a regular file"):
        Manifest.load(source).verify(source)


def test_a_link_in_a_source_is_refused_unless_the_manifest_lists_it(source, tmp_path):
    replace_by_link(source / "train/a")
    refused(source, tmp_path / "target", "train/a: cannot be read: it is a link")
    with pytest.raises(UserError, match="train/a: cannot be read: it is a link"):
        archive.pack(source, tmp_path / "packed")
    edit(source / "manifest.json", lambda values: values["splits"]["train"]["files"][0].update(link=True))
    archive.pack(source, tmp_path / "packed")
    for origin in (source, tmp_path / "packed"):
        staged = stage(origin, tmp_path / f"from_{origin.name}")
        assert not (staged / "train/a").is_symlink()
        assert (staged / "train/a").read_bytes() == CONTENT


def test_a_pipe_in_a_source_ends_staging_and_packing_at_once(source, tmp_path):
    replace_by_fifo(source / "train/a")
    refused(source, tmp_path / "target", "train/a: cannot be read: it is not a regular file")
    with pytest.raises(UserError, match="train/a: cannot be read: it is not a regular file"):
        archive.pack(source, tmp_path / "packed")


@pytest.mark.parametrize("archive_name", ["../part_00000.tar.zst", "/etc/passwd"])
def test_an_archive_outside_the_folder_is_refused(packed, tmp_path, archive_name):
    edit(packed / "archives.json", lambda values: values["frames"][0].update(archive=archive_name))
    refused(packed, tmp_path / "target", "archives.json: path: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.update(bytes=1 << 60),
        lambda frame: frame["members"][0].update(offset=1 << 60),
        lambda frame: frame["members"][0].update(offset=8 << 30),
        lambda frame: frame["members"][0].update(path="../x"),
        lambda frame: frame.update(offset=-1),
    ],
    ids=["frame size", "huge offset", "offset of 8 GiB", "path", "negative offset"],
)
def test_an_unsafe_index_is_refused(packed, tmp_path, change):
    edit(packed / "archives.json", lambda values: change(values["frames"][0]))
    refused(packed, tmp_path / "target", "archives.json: ")


BOMB_BYTES = 2 << 30


def bomb(declares_size: bool) -> bytes:
    """A zstd frame of some kilobytes with two gibibytes of zeros."""
    compressor = zstandard.ZstdCompressor(write_content_size=declares_size)
    compressing = compressor.compressobj(size=BOMB_BYTES) if declares_size else compressor.compressobj()
    block = bytes(1 << 26)
    parts = [compressing.compress(block) for _ in range(BOMB_BYTES // len(block))]
    return b"".join([*parts, compressing.flush()])


@pytest.mark.parametrize("declares_size", [True, False])
def test_a_frame_that_expands_beyond_its_files_is_refused_without_the_memory(packed, tmp_path, declares_size):
    content = bomb(declares_size)
    (packed / "part_00000.tar.zst").write_bytes(content)
    edit(packed / "archives.json", lambda values: values["frames"][0].update(offset=0, bytes=len(content)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(packed, tmp_path / "target", r"part_00000.tar.zst: frame at byte 0: not of the \d+ bytes")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_manifest_is_not_written_through_a_link(source, tmp_path):
    listed = Manifest.load(source)
    (tmp_path / "precious").write_text("mine")
    (source / "manifest.json").unlink()
    (source / "manifest.json").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="is a link"):
        listed.save(source)
    assert (tmp_path / "precious").read_text() == "mine"


def test_the_command_verifies_every_byte(source, capsys):
    assert manifest.main(["verify", str(source)]) == 0
    assert "2 files, 0.000 GB, are as the manifest lists them" in capsys.readouterr().out
    flipped = bytearray(CONTENT)
    flipped[100] ^= 1
    (source / "train/a").write_bytes(flipped)
    assert manifest.main(["verify", str(source)]) == 2
    assert "train/a: sha256: found " in capsys.readouterr().err


def test_packed_data_are_verified_too(packed, capsys):
    archive_command(["--verify", str(packed)])
    assert "2 files in" in capsys.readouterr().out
    damaged = bytearray((packed / "part_00000.tar.zst").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (packed / "part_00000.tar.zst").write_bytes(damaged)
    with pytest.raises(UserError, match=r"part_00000.tar.zst: "):
        archive_command(["--verify", str(packed)])
    assert manifest.main(["verify", str(packed)]) == 2
    assert "use python -m harness.archive --verify" in capsys.readouterr().err
