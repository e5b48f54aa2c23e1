# SPDX-License-Identifier: Apache-2.0
"""Year files: what is read, and the named errors of bad ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from ewa_fasterrcnn.year_files import YearError, YearFile, year_of

STORM = (1, 2, 5, 9, 1)


def test_one_image_is_read_and_boxes_keep_their_order(write_year):
    path = write_year(boxes=([], [STORM, (0, 0, 8, 12, 3)]))
    with YearFile(path) as year, h5py.File(path) as file:
        assert (year.num_images, year.image_shape, year.synthetic) == (2, (16, 8, 12), False)
        assert np.array_equal(year.read(1), file["images"][1])
        boxes = year.read_boxes()
    assert boxes.dtype == np.float32
    assert boxes[1, :2].tolist() == [list(STORM), [0, 0, 8, 12, 3]]
    assert (boxes[0] == -1).all()


def test_integers_serve_as_boxes_and_doubles_as_images(tmp_path):
    path = tmp_path / "climo_1980.h5"
    boxes = np.full((1, 15, 5), -1, dtype=np.int32)
    boxes[0, 0] = STORM
    with h5py.File(path, "w") as file:
        file["images"], file["boxes"] = np.full((1, 16, 8, 12), 1.5), boxes
    with YearFile(path) as year:
        assert year.read_boxes()[0, 0].tolist() == list(STORM)
        assert year.read(0).dtype == np.float32
        assert year.read(0).max() == 1.5


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ((1, 2, 5, 9, 7), "found class 7, expected a whole number from 0 to 3"),
        ((1, 2, 5, 9, 1.5), "found class 1.5"),
        ((1, 2, 5, 9, -1), "found class -1"),
        ((5, 2, 1, 9, 1), "found inverted corners, expected ymin < ymax"),
        ((1, 9, 5, 2, 1), "found inverted corners"),
        ((1, 2, 1, 9, 1), "found no area"),
        ((1, 2, 5, 2, 1), "found no area"),
        ((1, 2, 5, 14, 1), "found a box outside the image of 8 x 12 pixels"),
        ((-3, 2, 5, 9, 1), "found a box outside the image"),
        ((1, 2, float("nan"), 9, 1), "found a coordinate or class that is no number"),
    ],
)
def test_a_box_that_no_storm_can_have_is_named(write_year, row, fault):
    path = write_year(boxes=([], [STORM, row]))
    with YearFile(path) as year, pytest.raises(YearError) as raised:
        year.read_boxes()
    assert f"{path}: image 1, box 1: {fault}" in str(raised.value)


def test_a_pixel_of_rounding_beyond_the_edge_is_no_fault(write_year):
    with YearFile(write_year(boxes=([(-1, 2, 9, 13, 0)],))) as year:
        assert year.read_boxes()[0, 0].tolist() == [-1, 2, 9, 13, 0]


def test_a_file_that_was_cut_off_is_named(write_year):
    path = write_year(boxes=([STORM],) * 20)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(YearError, match=r"climo_1979\.h5: cannot be read as HDF5: cut off, copy it again"):
        YearFile(path)


def test_other_unusable_files_are_named(tmp_path):
    path = tmp_path / "climo_1979.h5"
    with pytest.raises(YearError, match="no such file"):
        YearFile(path)
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(YearError, match="cannot be read as HDF5"):
        YearFile(path)


@pytest.mark.parametrize(
    ("images", "boxes", "fault"),
    [
        ((2, 3, 8, 12), (2, 15, 5), r"images: found float32 of shape \(2, 3, 8, 12\)"),
        ((2, 16, 8), (2, 15, 5), "images: found"),
        ((2, 16, 8, 12), (1, 15, 5), r"boxes: found shape \(1, 15, 5\), expected \(2, 15, 5\)"),
        (None, (2, 15, 5), r"found no data set 'images', only \['boxes'\]"),
    ],
)
def test_arrays_of_another_form_are_named(tmp_path, images, boxes, fault):
    path = tmp_path / "climo_1979.h5"
    with h5py.File(path, "w") as file:
        file["boxes"] = np.full(boxes, -1, dtype=np.float32)
        if images:
            file["images"] = np.zeros(images, dtype=np.float32)
    with pytest.raises(YearError, match=fault):
        YearFile(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20, 9.96921e36, -2e15])
def test_missing_values_and_infinite_ones_are_named_with_image_and_channel(write_year, value):
    path = write_year(boxes=([STORM], [STORM]))
    with h5py.File(path, "r+") as file:
        file["images"][1, 2, 3, 4] = value
    with YearFile(path) as year:
        year.read(0)
        with pytest.raises(
            YearError, match=r"climo_1979\.h5: image 1: PSL: found .* at row 3, column 4, expected finite"
        ):
            year.read(1)


def test_large_fields_are_no_fault(write_year):
    path = write_year(boxes=([STORM],))
    with h5py.File(path, "r+") as file:
        file["images"][:] = 9e14
    with YearFile(path) as year:
        assert year.read(0).max() == np.float32(9e14)


def outside(file: h5py.File, kind: str, folder: Path) -> None:
    """Put the array "images" of a file where other files of the machine are."""
    shape = file["images"].shape
    del file["images"]
    if kind == "external link":
        file["images"] = h5py.ExternalLink(str(folder / "other.h5"), "images")
    elif kind == "external storage":
        file.create_dataset("images", shape, dtype=np.float32, external=str(folder / "other.raw"))
    else:
        layout = h5py.VirtualLayout(shape, dtype=np.float32)
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "images", shape)
        file.create_virtual_dataset("images", layout)


@pytest.mark.parametrize("kind", ["external link", "external storage", "virtual"])
def test_data_in_other_files_are_not_read(write_year, tmp_path, kind):
    path = write_year(boxes=([STORM],))
    with h5py.File(path, "r+") as file:
        outside(file, kind, tmp_path)
    with pytest.raises(YearError, match=r"climo_1979\.h5: images: found data outside of the file"):
        YearFile(path)


def test_the_name_tells_the_year():
    assert year_of(Path("raw/climo_1984.h5")) == 1984
    with pytest.raises(YearError, match=r"expected a name such as climo_1979\.h5"):
        year_of(Path("climo_84.h5"))
