# SPDX-License-Identifier: Apache-2.0
"""The loaders deliver every sample once, the same order and crops for the same seed, and faults by name."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data.checks import DataError
from harness.data.manifest import FILE_NAME
from imagenet_resnet import jpeg
from imagenet_resnet import loader as loader_module
from imagenet_resnet.data import open_split
from imagenet_resnet.dataset import choice_of_view
from imagenet_resnet.loader import loader

SIDE = 24


def batches_of(folder: Path, split: str = "train", *, epoch: int = 1, **options) -> list:
    options = {"batch_size": 4, "side": SIDE, "seed": 3, "shuffle": split == "train", **options}
    batches = loader(open_split(folder, split, num_classes=4), **options)
    batches.set_epoch(epoch)
    return list(batches)


def joined(batches: list) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(map(torch.cat, zip(*batches, strict=True)))


def same(first: list, second: list) -> bool:
    return all(torch.equal(*pair) for pair in zip(joined(first), joined(second), strict=True))


@pytest.fixture(params=["folders", "shards_folder"])
def folder(request) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture
def copy(folders, tmp_path) -> Path:
    """A data set that a test may spoil; it has no manifest."""
    shutil.copytree(folders, tmp_path / "copy")
    (tmp_path / "copy" / FILE_NAME).unlink()
    return tmp_path / "copy"


def test_a_sample_comes_once_an_epoch(folder):
    image_NHWC, label_N = joined(batches_of(folder))
    assert (image_NHWC.shape, image_NHWC.dtype, label_N.dtype) == ((20, SIDE, SIDE, 3), torch.uint8, torch.int64)
    assert (torch.bincount(label_N) <= torch.tensor([6, 6, 5, 5])).all()  # two of 22 fill no batch
    _, every_label_N = joined(batches_of(folder, batch_size=11))
    assert torch.bincount(every_label_N).tolist() == [6, 6, 5, 5]


def test_both_forms_hold_the_same_pictures(folders, shards_folder):
    sets = [joined(batches_of(one, "validation")) for one in (folders, shards_folder)]
    ordered = [sorted((int(label), image.numpy().tobytes()) for image, label in zip(*one, strict=True)) for one in sets]
    assert ordered[0] == ordered[1]


def test_the_seed_decides_order_and_crops(folder):
    first = batches_of(folder)
    assert same(first, batches_of(folder))
    assert not same(first, batches_of(folder, seed=4))
    assert not same(first, batches_of(folder, epoch=2))


def test_threads_change_nothing(folder):
    assert same(batches_of(folder), batches_of(folder, num_workers=3))


def test_an_epoch_may_be_given_up_and_begun_again(folder):
    batches = loader(open_split(folder, "train", num_classes=4), batch_size=4, side=SIDE, shuffle=True, num_workers=2)
    first = next(iter(batches))
    assert torch.equal(first[0], next(iter(batches))[0])


@pytest.mark.parametrize("split", ["train", "validation"])
def test_ranks_share_every_sample_and_step_together(folder, split):
    ranks = [batches_of(folder, split, num_ranks=3, rank=rank) for rank in range(3)]
    if split == "train":
        assert [[len(labels) for _, labels in rank] for rank in ranks] == 3 * [[4]]
    else:
        labels = torch.cat([joined(rank)[1] for rank in ranks])
        assert torch.bincount(labels).tolist() == [3, 2, 2, 2]


def test_two_ranks_see_the_global_batches_of_one(folders):
    alone = batches_of(folders, batch_size=4)
    ranks = [batches_of(folders, batch_size=2, num_ranks=2, rank=rank) for rank in range(2)]
    for step, (image_NHWC, label_N) in enumerate(alone):
        together = [torch.cat(parts) for parts in zip(*(rank[step] for rank in ranks), strict=True)]
        assert torch.equal(together[0], image_NHWC)
        assert torch.equal(together[1], label_N)


def test_a_crop_follows_from_seed_epoch_and_sample(folders):
    dataset = open_split(folders, "train", num_classes=4)
    batches = loader(dataset, batch_size=4, side=SIDE, seed=3, shuffle=True)
    batches.set_epoch(5)
    order = dataset.batches(batch_size=4, num_ranks=1, rank=0, seed=3, shuffle=True)
    order.epoch = 5
    index = int(order.indices()[0][0])
    expected = jpeg.render(jpeg.read(dataset.paths[index]), choice_of_view(order, index), SIDE)
    assert np.array_equal(next(iter(batches))[0][0].numpy(), expected)


def test_evaluation_ignores_the_epoch(folder):
    assert same(batches_of(folder, "validation"), batches_of(folder, "validation", epoch=7))


@pytest.mark.parametrize("kind", ["folders", "shards_folder"])
def test_without_a_manifest_the_files_are_the_data_set(request, kind, tmp_path):
    whole = request.getfixturevalue(kind)
    shutil.copytree(whole, tmp_path / "bare", ignore=shutil.ignore_patterns(FILE_NAME))
    assert same(batches_of(tmp_path / "bare"), batches_of(whole))


# --- bad input


def test_a_wrong_class_count_is_refused(folder):
    with pytest.raises(DataError, match=r"found 4 classes, expected num_classes = 1000"):
        open_split(folder, "train", num_classes=1000)


def test_a_missing_split_is_named(copy):
    shutil.rmtree(copy / "validation")
    with pytest.raises(DataError, match="validation: no such folder"):
        open_split(copy, "validation", num_classes=4)


def test_a_class_that_is_not_trained_is_refused(copy):
    (copy / "validation" / "n00000003").rename(copy / "validation" / "n00000009")
    with pytest.raises(DataError, match="'n00000009', which train/ does not have"):
        open_split(copy, "validation", num_classes=4)


def test_an_empty_split_is_refused(copy):
    shutil.rmtree(copy / "validation")
    (copy / "validation" / "n00000000").mkdir(parents=True)
    with pytest.raises(DataError, match="found no pictures"):
        open_split(copy, "validation", num_classes=4)


def test_fewer_samples_than_ranks_are_refused(folder):
    with pytest.raises(DataError, match="22 samples for 23 ranks"):
        open_split(folder, "train", num_classes=4, num_ranks=23)


def test_files_that_the_manifest_does_not_describe_are_refused(folders, tmp_path):
    shutil.copytree(folders, tmp_path / "copy")
    next((tmp_path / "copy/train").rglob("*.JPEG")).write_bytes(b"short")
    with pytest.raises(DataError, match="size: found 5 bytes"):
        open_split(tmp_path / "copy", "train", num_classes=4)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_picture_is_named_and_ends_the_epoch(copy, num_workers):
    spoilt = next((copy / "train").rglob("*.JPEG"))
    spoilt.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=f"{spoilt.name}: cannot be decoded: neither JPEG nor PNG"):
        batches_of(copy, num_workers=num_workers)


def test_an_unreadable_picture_may_be_replaced_by_grey(copy, capsys):
    spoilt = next((copy / "train").rglob("*.JPEG"))
    spoilt.write_bytes(spoilt.read_bytes()[:200])
    image_NHWC, label_N = joined(batches_of(copy, unreadable="grey", batch_size=11))
    assert len(label_N) == 22
    assert int((image_NHWC == loader_module.GREY).flatten(1).all(dim=1).sum()) == 1
    assert str(spoilt) in capsys.readouterr().err


def test_an_unknown_loader_is_refused(folders):
    with pytest.raises(DataError, match="expected 'plain' or 'dali'"):
        batches_of(folders, kind="fast")
