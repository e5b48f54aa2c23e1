# SPDX-License-Identifier: Apache-2.0
"""Year files: `climo_1979.h5` as the data set is published, read image by image and checked box by box.

    with YearFile(path) as year:
        year.read_boxes()                 # every box of the year, checked
        year.read(17)                     # (16, 768, 1152) float32: the 18th image, and nothing else, from the disk

A file holds `images` (N, 16, H, W) float32, four a day, and `boxes` (N, 15, 5): rows of ymin, xmin, ymax, xmax, class
in pixels, -1 where there is no box.

Source: Racah et al., "ExtremeWeather" (NIPS 2017); its files leave open whether H counts from the south.

Shape legend: N images of the year, B = 15 rows, C = 16 channels, H latitudes, W longitudes.
"""

import re
from pathlib import Path

import h5py
import numpy as np

from compliance.files.errors import UserError

CHANNELS = (
    *("PRECT", "PS", "PSL", "QREFHT", "T200", "T500", "TMQ", "TREFHT"),
    *("TS", "U850", "UBOT", "V850", "VBOT", "Z100", "Z200", "ZBOT"),
)
"""The channels in their order."""
CLASS_NAMES = ("tropical depression", "tropical cyclone", "extratropical cyclone", "atmospheric river")
"""The kinds of storms, in the order of their class numbers."""
MOST_BOXES = 15
UNUSED = -1
SYNTHETIC = "synthetic"
"""Attribute of a file that was made up here: whatever is trained on it is marked so."""
EDGE_TOLERANCE = 1.0
"""Pixels by which a box may leave the image: boxes were rounded to whole pixels."""
MISSING_FROM = 1e15
"""No field comes near; netCDF marks missing values with 1e20 or 9.97e36."""
FILE_NAME = re.compile(r"climo_(\d{4})\.(?:h5|hdf5)")


class YearError(UserError):
    """A year file that cannot be used: the text names the file, the image and the box, what was found and expected."""


class YearFile:
    """One open year file."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError:
            raise YearError(f"{path}: no such file") from None
        except OSError as error:
            cut_off = "cut off, copy it again" if "truncated" in str(error) else str(error)
            raise YearError(f"{path}: cannot be read as HDF5: {cut_off}") from None
        try:
            self._images, self.num_images = self._checked_arrays()
        except YearError:
            self.close()
            raise

    def __enter__(self) -> "YearFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self._images.shape[1:]

    @property
    def synthetic(self) -> bool:
        """True if synthesize.py made the file."""
        return bool(self._file.attrs.get(SYNTHETIC, False))

    def read_boxes(self) -> np.ndarray:
        """(N, B, 5) of all boxes, float32; YearError for the first that no storm can have."""
        boxes_NB5 = np.asarray(self._file["boxes"][()], dtype=np.float32)
        check_boxes(boxes_NB5, self.image_shape[1:], self.path)
        return boxes_NB5

    def read(self, number: int, out_CHW: np.ndarray | None = None) -> np.ndarray:
        """One image; YearError if its bytes cannot be read, or if a value is missing or no finite number."""
        image_CHW = np.empty(self.image_shape, dtype=np.float32) if out_CHW is None else out_CHW
        try:
            self._images.read_direct(image_CHW, np.s_[number])
        except OSError as error:
            raise YearError(f"{self.path}: image {number}: cannot be read: {error}") from None
        if fault := image_fault(image_CHW):
            raise YearError(f"{self.path}: image {number}: {fault}")
        return image_CHW

    def _check_array(self, name: str) -> None:
        """Raise YearError unless the file itself holds the data set: links could read any file of the machine."""
        is_link = isinstance(self._file.get(name, getlink=True), h5py.ExternalLink | h5py.SoftLink)
        array = None if is_link else self._file.get(name)
        if is_link or (isinstance(array, h5py.Dataset) and (array.external or array.is_virtual)):
            raise YearError(
                f"{self.path}: {name}: found data outside of the file, expected them in it; copy them there"
            )
        if not isinstance(array, h5py.Dataset):
            raise YearError(f"{self.path}: found no data set {name!r}, only {sorted(self._file)}")

    def _checked_arrays(self) -> tuple[h5py.Dataset, int]:
        for name in ("images", "boxes"):
            self._check_array(name)
        images, boxes = self._file["images"], self._file["boxes"]
        if images.ndim != 4 or images.shape[1] != len(CHANNELS) or images.dtype.kind != "f":
            found = f"found {images.dtype} of shape {images.shape}"
            raise YearError(f"{self.path}: images: {found}, expected floats of shape (N, {len(CHANNELS)}, H, W)")
        if boxes.shape != (len(images), MOST_BOXES, 5):
            expected = (len(images), MOST_BOXES, 5)
            raise YearError(f"{self.path}: boxes: found shape {boxes.shape}, expected {expected} beside the images")
        return images, len(images)


def image_fault(image_CHW: np.ndarray) -> str | None:
    """The first value of an image that no field can have, in words."""
    flat = image_CHW.reshape(-1)
    # The dot product with itself, the cheapest pass over memory, is as large for one missing value, and NaN for a NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.dot(flat, flat) < MISSING_FROM**2:
            return None
    wrong = np.argwhere(~(np.abs(image_CHW) < MISSING_FROM))
    if not len(wrong):
        return None
    channel, row, column = wrong[0]
    expected = f"expected finite numbers below {MISSING_FROM:g}; netCDF marks missing values with 1e20 or 9.97e36"
    return f"{CHANNELS[channel]}: found {image_CHW[channel, row, column]:g} at row {row}, column {column}, {expected}"


def check_boxes(boxes_NB5: np.ndarray, image_size: tuple[int, int], path: Path) -> None:
    """Raise YearError naming the first box that is not unused and cannot be a storm's."""
    height, width = image_size
    ymin, xmin, ymax, xmax, classes = np.moveaxis(boxes_NB5, -1, 0)
    used = ~(boxes_NB5 == UNUSED).all(axis=-1)
    faults = {
        "a coordinate or class that is no number": ~np.isfinite(boxes_NB5).all(axis=-1),
        f"class {{4:g}}, expected a whole number from 0 to {len(CLASS_NAMES) - 1}": ~np.isin(
            classes, range(len(CLASS_NAMES))
        ),
        "inverted corners, expected ymin < ymax and xmin < xmax": (ymax < ymin) | (xmax < xmin),
        "no area, expected ymin < ymax and xmin < xmax": (ymax == ymin) | (xmax == xmin),
        f"a box outside the image of {height} x {width} pixels": (np.minimum(ymin, xmin) < -EDGE_TOLERANCE)
        | (ymax > height + EDGE_TOLERANCE)
        | (xmax > width + EDGE_TOLERANCE),
    }
    for fault, is_faulty_NB in faults.items():
        if (used & is_faulty_NB).any():
            image, row = np.argwhere(used & is_faulty_NB)[0]
            values = boxes_NB5[image, row].tolist()
            text = fault.format(*values)
            where = f"{path}: image {image}, box {row}"
            raise YearError(f"{where}: found {text}: ymin, xmin, ymax, xmax, class = {values}")


def year_of(path: Path) -> int:
    """The year that a file's name tells; YearError where it tells none."""
    named = FILE_NAME.fullmatch(path.name)
    if named is None:
        raise YearError(f"{path}: expected a name such as climo_1979.h5, which says the year")
    return int(named[1])
