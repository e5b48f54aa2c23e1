# SPDX-License-Identifier: Apache-2.0
"""Data are staged and cached as the system asks, and cached from the staged copy."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import local_copy
from harness.data import manifest
from harness.data.manifest import Manifest, Split
from harness.distributed.node_group import NodeGroup
from harness.distributed.world import World


class Samples:
    """A split that records the calls."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.done = folder, []

    def move(self, folder: Path) -> None:
        self.folder = folder
        self.done.append("moved")

    def fill_cache(self, node: NodeGroup) -> None:
        assert node.count == 1
        assert (self.folder / "train" / "sample").read_text() == "content"
        self.done.append("cached")


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "sample").write_text("content")
    split = Split(num_samples=1, files=(manifest.describe(folder, folder / "train" / "sample"),))
    Manifest(
        benchmark="toy",
        synthetic=True,
        format="text",
        arrays={},
        splits={"train": split},
        provenance={},
        tool="test",
        tool_version="0",
    ).save(folder)
    return folder


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("staged", [False, True])
def test_data_are_staged_and_cached_as_the_system_asks(source, tmp_path, staged, cache):
    target = tmp_path / "node" / "data"
    system = SimpleNamespace(staging_folder=target if staged else None, staging_form="replica", cache=cache)
    run = SimpleNamespace(config=SimpleNamespace(system=system), world=World())
    splits = Samples(source), Samples(source)
    local_copy.stage_and_cache(run, *splits)
    expected = ["moved"] * staged + ["cached"] * cache
    assert [split.done for split in splits] == [expected, expected]
    assert [split.folder for split in splits] == [target if staged else source] * 2
    assert (target / "train" / "sample").exists() == staged
