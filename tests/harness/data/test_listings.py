# SPDX-License-Identifier: Apache-2.0
"""One rank reads manifest and index for all; if nodes have different files, one rank per node."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.archive import archive
from harness.data import listings
from harness.data.manifest import INDEX_NAME, Manifest, Split, describe


@pytest.fixture
def make(tmp_path):
    """Make a data set of a benchmark."""

    def make(benchmark: str) -> Path:
        folder = tmp_path / benchmark
        (folder / "train").mkdir(parents=True)
        (folder / "train/sample").write_text("content")
        splits = {"train": Split(num_samples=1, files=(describe(folder, folder / "train/sample"),))}
        description = {"format": "text", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
        Manifest(benchmark=benchmark, synthetic=True, splits=splits, **description).save(folder)
        return folder

    return make


def ranks(store: Path, *folders: Path) -> list[dict]:
    """Lines that the ranks of two nodes print, in their order."""
    line = [sys.executable, "-m", "tests.harness.data.listing_ranks", str(store), *map(str, folders)]
    finished = subprocess.run(line, capture_output=True, text=True, timeout=100)
    assert finished.returncode == 0, finished.stderr
    return sorted(map(json.loads, finished.stdout.splitlines()), key=lambda one: one["rank"])


def test_a_shared_manifest_is_read_once_in_all(make, tmp_path):
    folder = make("toy")
    found = ranks(tmp_path / "store", folder, folder)
    assert [one["found"] for one in found] == ["toy"] * 4
    assert [one["bytes_read"] for one in found] == [[(folder / "manifest.json").stat().st_size], [], [], []]


def test_manifests_of_the_nodes_own_are_read_once_per_node(make, tmp_path):
    found = ranks(tmp_path / "store", make("first"), make("second"))
    assert [one["found"] for one in found] == ["first", "first", "second", "second"]
    assert [len(one["bytes_read"]) for one in found] == [1, 0, 1, 0]


def test_a_manifest_that_cannot_be_read_is_an_error_on_all_ranks(make, tmp_path):
    folder = make("toy")
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    found = ranks(tmp_path / "store", folder, folder)
    assert len({one["found"] for one in found}) == 1
    assert found[0]["found"].startswith(f"DataError: {folder}/manifest.json: cannot be read")


def test_a_folder_without_manifest_has_none_and_a_packed_one_has_an_index(make, tmp_path):
    assert listings.read(tmp_path).parsed(tmp_path) is None
    archive.pack(make("toy"), tmp_path / "packed")
    assert listings.read(tmp_path / "packed").index == (tmp_path / "packed" / INDEX_NAME).read_bytes()
