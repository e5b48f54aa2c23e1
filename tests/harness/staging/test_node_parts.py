# SPDX-License-Identifier: Apache-2.0
"""Staged node parts: each node gets its samples and what all need, each a data set of its own, read once in all."""

from pathlib import Path

import pytest

from harness.archive import archive
from harness.data.manifest import Manifest, Split, describe
from harness.data.node_parts import NodePart
from harness.distributed.world import World
from harness.staging import __main__ as staging_command
from harness.staging import direct_io, units
from harness.staging import stage as stage_module
from harness.staging.partial_copy import PartialCopy
from harness.staging.stage import stage
from harness.staging.units import Source, StagingError
from tests.harness.ranks import spawn

NUM_TRAIN, NUM_VALIDATION = 7, 2


@pytest.fixture
def source(tmp_path) -> Path:
    """Samples of 1 to 7 kB and one of 200 kB, and a file that all nodes need."""
    folder = tmp_path / "source"
    sizes = {f"train/{number}": 1000 * (number + 1) for number in range(NUM_TRAIN)} | {"train/3": 200_000}
    sizes |= {f"validation/{number}": 3000 for number in range(NUM_VALIDATION)} | {"stats": 500}
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"{name} ".encode() * (size // len(name)))
    counts = {"train": NUM_TRAIN, "validation": NUM_VALIDATION, "stats": 0}
    splits = {
        split: Split(num_samples=count, files=tuple(describe(folder, folder / name) for name in sizes if split in name))
        for split, count in counts.items()
    }
    description = {"format": "numpy", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
    Manifest(benchmark="toy", synthetic=True, splits=splits, **description).save(folder)
    return folder


def stage_node_part(world: World, source: Path, folder: Path) -> None:
    """Each rank is a node; what it reads is noted."""
    stage_module.UNIT_BYTES = units.MIN_UNIT_BYTES
    read, notes = direct_io.read_range, folder / f"reads_{world.rank}"

    def noting(path: Path, offset: int, num_bytes: int) -> bytes:
        with notes.open("a") as file:
            file.write(f"{path} {offset}\n")
        return read(path, offset, num_bytes)

    direct_io.read_range = noting
    node = World(rank=world.rank, num_ranks=world.num_ranks, local_rank=0, ranks_per_node=1)
    stage(source, folder / f"node_{world.rank}", world=node, form="node_part")


@pytest.mark.parametrize("packed", [False, True])
def test_two_nodes_get_their_samples_and_read_each_byte_once(source, tmp_path, monkeypatch, packed):
    monkeypatch.setattr(archive, "FRAME_BYTES", 10_000)
    read_from = tmp_path / "packed" if packed else source
    if packed:
        archive.pack(source, read_from)
    spawn(stage_node_part, 2, tmp_path, read_from, tmp_path)
    whole, nodes = Manifest.load(source), [tmp_path / f"node_{rank}" for rank in range(2)]
    parts = [Manifest.load(node) for node in nodes]
    for node, part in zip(nodes, parts, strict=True):
        part.verify(node, checksums=True)
        names = {file.path for split in part.splits.values() for file in split.files} | {"manifest.json"}
        assert {path.relative_to(node).as_posix() for path in node.rglob("*") if path.is_file()} == names
    for name in ("train", "validation"):
        assert [part.splits[name].files for part in parts] == [whole.splits[name].files[node::2] for node in range(2)]
    assert [NodePart.of(part).index for part in parts] == [0, 1]
    reads = [line for rank in range(2) for line in (tmp_path / f"reads_{rank}").read_text().splitlines()]
    assert len(reads) == len(set(reads))


def test_one_node_gets_the_only_node_part(source, tmp_path):
    target = stage(source, tmp_path / "node", form="node_part")
    assert NodePart.of(Manifest.load(target)) == NodePart(index=0, count=1)
    assert Manifest.load(target).splits == Manifest.load(source).splits


def test_what_a_node_has_of_another_node_part_is_not_taken_for_its_own(source, tmp_path):
    opened = Source.open(source, num_node_parts=2)
    listed_parts = [NodePart(index=index, count=2).cut(opened.manifest) for index in range(2)]
    with PartialCopy(opened, tmp_path / "node", listed_parts[0]) as partial_copy:
        first = partial_copy.missing
        for number in first:
            partial_copy.take(number, opened.read(opened.units[number]))
    with PartialCopy(opened, tmp_path / "node", listed_parts[1]) as partial_copy:
        assert partial_copy.missing
        assert not list((tmp_path / "node.partial/train").iterdir())
        for number in partial_copy.missing:
            partial_copy.take(number, opened.read(opened.units[number]))
        partial_copy.complete()
    with pytest.raises(StagingError, match="is another data set"):
        PartialCopy(opened, tmp_path / "node", listed_parts[0])


def test_the_command_says_what_each_node_got(source, tmp_path, capsys):
    staging_command.main(["--node-part", str(source), str(tmp_path / "node")])
    assert capsys.readouterr().out == f"{tmp_path}/node: staged on 1 nodes, on each a node part\n"
