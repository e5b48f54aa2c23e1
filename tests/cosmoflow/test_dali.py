# SPDX-License-Identifier: Apache-2.0
"""The DALI loader gives the plain loader's samples; where DALI is missing, it says so before a run starts."""

import importlib.util

import numpy as np
import pytest
import torch

from cosmoflow import prepare
from cosmoflow.conversion import Conversion
from cosmoflow.data import open_split
from cosmoflow.loader import loader
from cosmoflow.synthesize import Simulation, synthesize
from harness.data.checks import DataError
from harness.distributed.node_group import NodeGroup
from harness.distributed.world import World

needs_dali = pytest.mark.skipif(
    importlib.util.find_spec("nvidia.dali") is None if importlib.util.find_spec("nvidia") else True,
    reason="nvidia.dali is not installed: pip install '.[dali]'",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("dali")
    synthesize(root / "raw", Simulation(size=16), {"universes": 2}, num_processes=1)
    for name, compress in (("numpy", False), ("tfrecord", False), ("hdf5", False), ("gzip", True)):
        chosen = Conversion(format="tfrecord" if compress else name, compress=compress, crop=8)
        prepare.prepare(root / "raw", root / name, chosen, num_workers=1)
    return root


def assert_same_batches(found, expected):
    assert len(found) == len(expected)
    for (found_volume, found_target), (volume, target) in zip(found, expected, strict=True):
        assert (found_volume.dtype, found_target.dtype) == (torch.int16, torch.float32)
        assert torch.equal(found_volume, volume)
        assert torch.equal(found_target, target)


@needs_dali
@pytest.mark.parametrize("name", ["numpy", "tfrecord"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_dali_gives_the_plain_loaders_batches(folders, name, shuffle):
    dataset = open_split(folders / name, "train")
    for rank in (0, 1):
        options = {"batch_size": 3, "num_ranks": 2, "rank": rank, "seed": 7, "shuffle": shuffle, "num_workers": 2}
        loaders = [loader(dataset, **options, kind=kind) for kind in ("dali", "plain")]
        for epoch in (0, 1):
            for batches in loaders:
                batches.set_epoch(epoch)
            assert_same_batches(*map(list, loaders))


@needs_dali
def test_dali_reads_numpy_files_with_redshifts_last(folders, tmp_path):
    for path in (folders / "numpy" / "train").iterdir():
        (tmp_path / "train").mkdir(exist_ok=True)
        array = np.load(path)
        np.save(tmp_path / "train" / path.name, np.moveaxis(array, 0, -1) if array.ndim == 4 else array)
    dataset = open_split(tmp_path, "train")
    assert_same_batches(*(list(loader(dataset, batch_size=4, kind=kind)) for kind in ("dali", "plain")))


@needs_dali
def test_batches_outlive_the_pipelines_buffers(folders):
    batches = [volume for volume, _ in loader(open_split(folders / "numpy", "train"), batch_size=1, kind="dali")]
    assert len({volume.numpy().tobytes() for volume in batches}) == len(batches) == 8


@needs_dali
def test_a_broken_file_is_an_error_that_names_the_folder(folders, tmp_path):
    for path in (folders / "numpy" / "train").iterdir():
        (tmp_path / "train").mkdir(exist_ok=True)
        content = path.read_bytes()
        (tmp_path / "train" / path.name).write_bytes(content[:10] if "_005_data" in path.name else content)
    with pytest.raises(DataError, match=f"{tmp_path}/train: DALI could not read"):
        list(loader(open_split(tmp_path, "train"), batch_size=2, kind="dali"))


@needs_dali
@pytest.mark.parametrize(
    ("name", "cache", "message"),
    [
        ("hdf5", False, "loader kind 'dali' reads numpy or tfrecord, found hdf5"),
        ("gzip", False, "reads uncompressed TFRecord files, found gzip"),
        ("numpy", True, "reads files, found a cached data set"),
    ],
)
def test_what_dali_cannot_read_is_refused_before_the_run(folders, name, cache, message):
    dataset = open_split(folders / name, "train")
    if cache:
        dataset.fill_cache(NodeGroup(World(), error=DataError))
    with pytest.raises(DataError, match=message):
        loader(dataset, batch_size=2, kind="dali")


@needs_dali
def test_a_missing_index_is_named(folders, tmp_path):
    for path in (folders / "tfrecord" / "train").glob("*.tfrecord"):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"_000.tfrecord.idx: found no such index, which DALI needs"):
        loader(open_split(tmp_path, "train"), batch_size=2, kind="dali")


def test_without_dali_the_error_names_the_extra(folders, monkeypatch):
    monkeypatch.setattr("harness.data.dali.is_installed", lambda: False)
    with pytest.raises(DataError, match=r"found no nvidia.dali to import; install the extra \[dali\] or use 'plain'"):
        loader(open_split(folders / "numpy", "train"), batch_size=2, kind="dali")
