# SPDX-License-Identifier: Apache-2.0
"""DALI delivers what the plain loader delivers: the same samples, crops and order from both forms of the data set."""

from pathlib import Path

import pytest
import torch

from harness.data.checks import DataError
from imagenet_resnet import dali
from imagenet_resnet.data import open_split
from imagenet_resnet.loader import loader

needs_dali = pytest.mark.skipif(dali.pipeline_def is None, reason="the extra [dali] is not installed")


def open_loader(folder: Path, kind: str, *, shuffle: bool = True, **options):
    dataset = open_split(folder, "train", num_classes=4)
    return loader(dataset, batch_size=4, side=24, seed=3, shuffle=shuffle, kind=kind, **options)


@needs_dali
@pytest.mark.parametrize("form", ["folders", "shards_folder"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_both_loaders_deliver_the_same(request, form, shuffle):
    plain, fast = (open_loader(request.getfixturevalue(form), kind, shuffle=shuffle) for kind in ("plain", "dali"))
    for epoch in (1, 2):
        plain.set_epoch(epoch)
        fast.set_epoch(epoch)
        for (image_NHWC, label_N), (other_NHWC, other_N) in zip(plain, fast, strict=True):
            assert torch.equal(label_N, other_N)
            assert image_NHWC.shape == other_NHWC.shape
            assert (image_NHWC.float() - other_NHWC.float()).abs().mean() < 2  # of 255: other interpolation


@needs_dali
def test_the_last_batch_of_an_evaluation_may_be_short(folders):
    batches = [open_loader(folders, "dali", num_ranks=2, rank=rank, shuffle=False) for rank in (0, 1)]
    assert [[len(label_N) for _, label_N in rank] for rank in batches] == [[4, 4, 3], [4, 4, 3]]


@needs_dali
def test_an_unreadable_picture_is_named(folders, tmp_path):
    spoilt = tmp_path / "train" / "n00000000" / "a.JPEG"
    for split in ("train", "validation"):
        (tmp_path / split / "n00000000").mkdir(parents=True)
    spoilt.write_bytes(b"not a picture")
    dataset = open_split(tmp_path, "train", num_classes=1)
    with pytest.raises(DataError, match=r"a\.JPEG: cannot be decoded"):
        list(loader(dataset, batch_size=1, side=24, shuffle=True, kind="dali"))


def test_grey_in_place_of_errors_is_refused(folders):
    with pytest.raises(DataError, match="which loader kind 'dali' cannot do"):
        open_loader(folders, "dali", unreadable="grey")


def test_without_dali_it_says_what_to_install(folders, monkeypatch):
    monkeypatch.setattr("harness.data.dali.is_installed", lambda: False)
    with pytest.raises(DataError, match=r"install the extra \[dali\]"):
        open_loader(folders, "dali")


@needs_dali
def test_dalis_own_reader_takes_our_shards_and_indexes(shards_folder):
    paths = [str(path) for path in sorted((shards_folder / "train").glob("*.tar"))]
    indexes = [path.replace(".tar", ".idx") for path in paths]

    @dali.pipeline_def(batch_size=22, num_threads=1, device_id=None)
    def pipeline():
        return tuple(dali.fn.readers.webdataset(paths=paths, index_paths=indexes, ext=["jpg", "cls"]))

    pictures, labels = pipeline().run()
    assert [bytes(label).decode() for label in map(labels.at, range(22))] == [str(n % 4) for n in range(22)]
    assert all(bytes(picture[:2]) == b"\xff\xd8" for picture in map(pictures.at, range(22)))
