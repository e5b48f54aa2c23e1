# SPDX-License-Identifier: Apache-2.0
"""The data set of Extreme Weather Analytics as year files, read lazily, one image at a time.

    dataset = open_split("data", "train")

A data set is a folder with `train/`, `validation/`, `statistics.json` and `manifest.json`, which prepare.py and
synthesize.py write; each split holds whole years.

Shape legend: N images, C = 16 channels, H x W pixels, B = 15 rows of boxes.
"""

import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ewa_fasterrcnn.channel_statistics import FILE_NAME as STATISTICS_NAME
from ewa_fasterrcnn.channel_statistics import Statistics, StatisticsError
from ewa_fasterrcnn.year_files import UNUSED, YearError, YearFile
from harness.data import checks, manifest
from harness.data.checks import DataError
from harness.data.listings import Listings
from harness.data.manifest import Manifest, ManifestError

Batch = tuple[Tensor, Tensor, Tensor]
"""(N,) numbers of the images in their split, (N, C, H, W) fields in the units of the files, (N, B, 5) rows of boxes."""


def open_split(
    folder: Path | str, split: str, *, listed_by: Listings | None = None, rank: int = 0, num_ranks: int = 1
) -> "Dataset":
    """The images of one split ("train" or "validation"), checked as far as it is cheap.

    Every year file is there with its size (each rank looks at its share), is whole, and every box in it is a storm's.
    Raises DataError.
    """
    folder = Path(folder)
    checks.check_split(folder, split)
    try:
        listed = listed_by.parsed(folder) if listed_by else None
        listed = listed or Manifest.load(folder)
        checks.check_whole(folder, listed)
        checks.check_form(folder, listed, "ewa_fasterrcnn", ["hdf5"])
        listed.verify(folder, split=split, part=slice(rank, None, num_ranks))
        _check_statistics_file(folder / STATISTICS_NAME, listed)
        return Dataset(
            [folder / file.path for file in listed.split(split).files],
            statistics=Statistics.load(folder / STATISTICS_NAME),
            manifest=listed,
        )
    except (ManifestError, StatisticsError, YearError) as error:
        raise DataError(str(error)) from None


class Dataset(torch.utils.data.Dataset):
    """The images of several years in their order. Boxes are held in memory, fields are read when asked for."""

    def __init__(self, paths: list[Path], *, statistics: Statistics, manifest: Manifest) -> None:
        self.paths, self.statistics, self.manifest = paths, statistics, manifest
        boxes, shapes = [], []
        for path in paths:
            with YearFile(path) as year:
                boxes.append(year.read_boxes())
                shapes.append(year.image_shape)
        self.image_shape: tuple[int, int, int] = shapes[0]
        """(C, H, W)."""
        for path, shape in zip(paths, shapes, strict=True):
            if shape != self.image_shape:
                raise YearError(f"{path}: images: found shape {shape}, expected {self.image_shape} as in {paths[0]}")
        self.boxes_NB5 = np.concatenate(boxes)
        self._starts = [0, *accumulate(len(year_boxes) for year_boxes in boxes)]
        self._open: dict[tuple[int, Path], YearFile] = {}

    def __len__(self) -> int:
        return len(self.boxes_NB5)

    def read(self, number: int) -> np.ndarray:
        """(C, H, W) fields of one image, and nothing else, from the disk."""
        position = bisect_right(self._starts, number) - 1
        return self._year(self.paths[position]).read(number - self._starts[position])

    def storms(self, number: int) -> np.ndarray:
        """(G, 5) rows of one image's boxes, without the unused ones."""
        rows_B5 = self.boxes_NB5[number]
        return rows_B5[rows_B5[:, 4] != UNUSED]

    def __getitems__(self, numbers: list[int]) -> Batch | YearError:
        """A whole batch, which torch's DataLoader asks for. An error is a value here, for Loader to raise: a worker
        process would bury its text under a traceback."""
        try:
            fields = [self.read(number) for number in numbers]
        except YearError as error:
            return error
        fields_NCHW = fields[0][None] if len(fields) == 1 else np.stack(fields)
        return torch.tensor(numbers), torch.from_numpy(fields_NCHW), torch.from_numpy(self.boxes_NB5[numbers])

    def _year(self, path: Path) -> YearFile:
        """This process' own handle of a file: HDF5's handles must not pass from one process to another."""
        key = (os.getpid(), path)
        if key not in self._open:
            self._open[key] = YearFile(path)
        return self._open[key]


def _check_statistics_file(path: Path, listed: Manifest) -> None:
    expected = listed.provenance.get("statistics_sha256")
    found = manifest.sha256(path) if path.exists() else None
    if found != expected:
        raise StatisticsError(
            f"{path}: found checksum {found}, expected {expected}: it is not the one that was written with the "
            "data; copy it again, or prepare the data set again"
        )
