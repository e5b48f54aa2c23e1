# SPDX-License-Identifier: Apache-2.0
"""The data set over several years, and its loader."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ewa_fasterrcnn.data import open_split
from ewa_fasterrcnn.loader import loader
from ewa_fasterrcnn.year_files import YearError
from harness.data.checks import DataError


def on_disk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for path in sorted((folder / "train").glob("*.h5")):
        with h5py.File(path) as file:
            arrays.append((file["images"][()], file["boxes"][()]))
    images, boxes = zip(*arrays, strict=True)
    return np.concatenate(images), np.concatenate(boxes)


def test_images_of_all_years_in_order(storms):
    dataset = open_split(storms, "train")
    images, boxes = on_disk(storms)
    assert (len(dataset), dataset.image_shape, dataset.manifest.synthetic) == (6, (16, 64, 96), True)
    assert all(np.array_equal(dataset.read(number), images[number]) for number in range(6))
    assert np.array_equal(dataset.boxes_NB5, boxes)
    assert (dataset.storms(0)[:, 4] >= 0).all()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_comes_once_an_epoch_in_an_order_of_its_own(storms, num_workers):
    images, boxes = on_disk(storms)
    batches = loader(open_split(storms, "train"), batch_size=4, seed=3, shuffle=True, num_workers=num_workers)
    orders = []
    for epoch in (1, 2, 1):
        batches.set_epoch(epoch)
        order = []
        for numbers, fields, rows in batches:
            assert np.array_equal(fields.numpy(), images[numbers])
            assert np.array_equal(rows.numpy(), boxes[numbers])
            order += numbers.tolist()
        assert len(set(order)) == len(order) == 4  # the other two of six fill no batch
        orders.append(order)
    assert orders[0] == orders[2] != orders[1]


def test_ranks_share_each_step(storms):
    dataset = open_split(storms, "train")
    alone = loader(dataset, batch_size=4, seed=3, shuffle=True)
    ranks = [loader(dataset, batch_size=2, num_ranks=2, rank=rank, seed=3, shuffle=True) for rank in (0, 1)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert whole[0].tolist() == torch.cat([part[0] for part in parts]).tolist()


def test_a_process_opens_each_file_once_and_never_anothers_handle(storms):
    dataset = open_split(storms, "train")
    for number in (0, 5, 1, 4, 0):
        dataset.read(number)
    assert len(dataset._open) == 2
    handles = dict(dataset._open)
    assert len(list(loader(dataset, batch_size=1, num_workers=1))) == 6
    assert dataset._open == handles


def test_what_is_wrong_with_a_folder_is_named(storms, tmp_path):
    with pytest.raises(DataError, match="no such folder; expected the train split"):
        open_split(tmp_path, "train")
    folder = tmp_path / "copy"
    shutil.copytree(storms, folder)
    year = folder / "train" / "climo_1979.h5"
    content = year.read_bytes()
    year.write_bytes(content[:-1000])
    with pytest.raises(DataError, match=r"climo_1979\.h5: size: found"):
        open_split(folder, "train")
    year.write_bytes(content)
    (folder / "statistics.json").write_text((storms / "statistics.json").read_text().replace("1", "2", 1))
    with pytest.raises(DataError, match=r"statistics\.json: found checksum"):
        open_split(folder, "train")
    (folder / "manifest.json").unlink()
    with pytest.raises(DataError, match="no manifest"):
        open_split(folder, "train")


def test_a_bad_box_ends_the_opening(storms, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(storms, folder)
    with h5py.File(folder / "train" / "climo_1980.h5", "r+") as file:
        file["boxes"][2, 0] = (10, 20, 30, 40, 7)
    with pytest.raises(DataError, match=r"climo_1980\.h5: image 2, box 0: found class 7"):
        open_split(folder, "train")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named_from_workers_too(storms, tmp_path, num_workers):
    folder = tmp_path / "copy"
    shutil.copytree(storms, folder)
    dataset = open_split(folder, "train")
    (folder / "train" / "climo_1980.h5").unlink()
    with pytest.raises(YearError, match=r"climo_1980\.h5: no such file"):
        list(loader(dataset, batch_size=1, num_workers=num_workers))


def test_too_many_ranks_are_refused(storms):
    with pytest.raises(DataError, match="found 6 training samples, expected at least one global batch of 7"):
        loader(open_split(storms, "train"), batch_size=1, num_ranks=7, shuffle=True)
