# SPDX-License-Identifier: Apache-2.0
"""Tar shards: naming, index, sequential reading and what may be wrong with them."""

import itertools
import shutil
import tarfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.data import manifest
from harness.data.checks import DataError
from harness.data.manifest import Manifest, Split
from harness.data.node_parts import NodePart
from imagenet_resnet import webdataset
from imagenet_resnet.webdataset import ShardBatches, ShardSet, index_path, read_index, write_index, write_shard


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three shards of 6, 6 and 3 samples, each of which says its number; labels from 0 to 3."""
    numbers = iter(range(15))
    for shard, size in enumerate((6, 6, 3)):
        samples = [(f"{n:08d}", f"picture {n}".encode() * 50, n % 4) for n in itertools.islice(numbers, size)]
        write_shard(tmp_path / f"train-{shard:06d}.tar", samples)
    return tmp_path


def opened(folder: Path, num_classes: int = 4) -> ShardSet:
    return ShardSet(folder, num_classes)


def numbers_of(encoded) -> list[int]:
    return [int(bytes(picture[8:10]).decode().rstrip("p")) for picture in encoded.pictures]


def options(**changed) -> dict:
    return {"batch_size": 5, "num_ranks": 1, "rank": 0, "seed": 1, "shuffle": True, **changed}


def test_a_shard_is_a_tar_file_in_webdatasets_naming(folder):
    with tarfile.open(folder / "train-000002.tar") as archive:
        names = archive.getnames()
        assert names == [f"{n:08d}.{kind}" for n in (12, 13, 14) for kind in ("jpg", "cls")]
        assert archive.extractfile("00000014.cls").read() == b"2"
    assert not list(folder.glob(".*"))


def test_an_index_says_where_pictures_and_labels_stand(folder):
    path = folder / "train-000000.tar"
    head, first, *_ = index_path(path).read_text().splitlines()
    assert head == "v1.2 6"
    assert first.split()[0::4] == ["jpg", "cls"]
    content = path.read_bytes()
    for number, (start, size, label_start, label_size) in enumerate(read_index(path)):
        assert content[start : start + size].startswith(f"picture {number}".encode())
        assert content[label_start : label_start + label_size] == str(number % 4).encode()


@pytest.mark.parametrize("window", [2, 4, 100])
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_ranks_read_a_sample_once(folder, monkeypatch, window, num_ranks):
    monkeypatch.setattr(webdataset, "WINDOW", window)
    dataset, found = opened(folder), []
    for rank in range(num_ranks):
        batches = dataset.batches(**options(num_ranks=num_ranks, rank=rank)).indices()
        for indices, encoded in zip(batches, dataset.fetch(batches), strict=True):
            assert numbers_of(encoded) == indices.tolist()
            assert encoded.labels.tolist() == [number % 4 for number in indices]
            found += indices.tolist()
    assert len(set(found)) == len(found) == {1: 15, 2: 10, 3: 15}[num_ranks]


def test_a_rank_reads_stretches_in_the_order_of_the_file(folder, monkeypatch):
    monkeypatch.setattr(webdataset, "WINDOW", 3)
    order = np.concatenate(opened(folder).batches(**options()).indices())
    stretches = [sorted(order[start : start + 3].tolist()) for start in range(0, 15, 3)]
    assert all(stretch == list(range(stretch[0], stretch[0] + 3)) for stretch in stretches)
    assert sorted(order.tolist()) == list(range(15)) != order.tolist()


def test_nodes_that_hold_some_of_the_shards_read_each_sample_once_and_step_together(folder):
    sizes = {f"train-{shard:06d}.tar": size for shard, size in enumerate((6, 6, 3))}
    files = [
        manifest.describe(folder, path, num_samples=sizes.get(path.name, msgspec.UNSET))
        for path in sorted(folder.iterdir())
    ]
    splits = {"train": Split(num_samples=15, files=tuple(files))}
    description = {"format": "webdataset", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
    whole = Manifest(benchmark="imagenet_resnet", synthetic=True, splits=splits, **description)
    found, num_steps = [], []
    for node in range(2):
        part = NodePart(index=node, count=2).cut(whole)
        own = folder / f"node_{node}"
        own.mkdir()
        for file in part.split("train").files:
            shutil.copy(folder / file.path, own)
        dataset = ShardSet(own, 4, part)
        batches = dataset.batches(**options(batch_size=2)).indices()
        num_steps.append(len(batches))
        found += [number for encoded in dataset.fetch(batches) for number in numbers_of(encoded)]
    assert num_steps == [3, 3]  # the smaller part has 6 samples
    assert len(set(found)) == len(found) == 12


def test_lengths_agree_with_what_comes():
    starts = np.array([0, 6, 12, 15])
    for num_ranks, shuffle, batch_size in itertools.product((1, 2, 3), (True, False), (2, 4, 5)):
        for rank in range(num_ranks):
            batches = ShardBatches(
                starts, **options(num_ranks=num_ranks, rank=rank, shuffle=shuffle, batch_size=batch_size)
            )
            assert len(batches) == len(batches.indices())


def test_a_stretch_is_one_read_of_each_shard_it_touches(folder, monkeypatch):
    reads = []
    read = webdataset._read_stretch
    monkeypatch.setattr(
        webdataset, "_read_stretch", lambda path, *extent: reads.append(path.name) or read(path, *extent)
    )
    dataset = opened(folder)
    list(dataset.fetch(dataset.batches(**options()).indices()))
    assert sorted(reads) == [f"train-{shard:06d}.tar" for shard in range(3)]


# --- bad input


def test_an_empty_shard_is_refused(folder):
    write_shard(folder / "train-000003.tar", [])
    with pytest.raises(DataError, match=r"train-000003\.tar: found a shard without samples"):
        opened(folder)


def test_a_missing_index_says_how_to_write_it(folder):
    index_path(folder / "train-000001.tar").unlink()
    with pytest.raises(DataError, match=r"prepare --index FOLDER"):
        opened(folder)


@pytest.mark.parametrize("text", ["", "v1.1 6\n", "v1.2 1\njpg x 3 a.jpg\n", "v1.2 1\ncls 3 3 a.cls\n"])
def test_a_damaged_index_is_refused(folder, text):
    index_path(folder / "train-000001.tar").write_text(text)
    with pytest.raises(DataError, match=r"train-000001\.idx"):
        opened(folder)


def test_a_shortened_shard_is_refused(folder):
    path = folder / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match="found 600 bytes, and its index goes beyond"):
        opened(folder)


def test_a_label_beyond_the_classes_is_named(folder):
    dataset = opened(folder, num_classes=3)
    with pytest.raises(DataError, match=r"sample 3: label: found b'3', expected a number below 3"):
        list(dataset.fetch(dataset.batches(**options(shuffle=False)).indices()))


def test_a_picture_without_label_is_refused(tmp_path):
    path = tmp_path / "train-000000.tar"
    (tmp_path / "a.jpg").write_bytes(b"x")
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "a.jpg", "a.jpg")
    with pytest.raises(DataError, match=r"sample a: found \['jpg'\]"):
        write_index(path)
    path.write_bytes(b"no tar file" * 100)
    with pytest.raises(DataError, match="not a tar file"):
        write_index(path)
