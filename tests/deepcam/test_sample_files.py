# SPDX-License-Identifier: Apache-2.0
"""Samples survive every form on disk unchanged, and a broken file is named with its fault."""

import h5py
import numpy as np
import pytest

from deepcam import sample_files
from deepcam.sample_files import FORMATS, SampleError

NAME = "2000-01-01-00-0"
GENERATOR = np.random.default_rng(0)
FIELDS = GENERATOR.normal(size=(16, 32, 16)).astype(np.float32)
LABELS = GENERATOR.integers(0, 3, (16, 32), dtype=np.uint8)


@pytest.mark.parametrize("form", FORMATS)
def test_a_sample_comes_back_as_it_was_written(tmp_path, form):
    sample_files.write(FORMATS[form], tmp_path, NAME, FIELDS, LABELS)
    fields, labels = sample_files.read(FORMATS[form], tmp_path, NAME)
    assert fields.dtype == np.float32
    assert labels.dtype == np.uint8
    assert np.array_equal(fields, FIELDS)
    assert np.array_equal(labels, LABELS)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in FORMATS[form].paths(tmp_path, NAME)
    )


def test_the_hdf5_layout_is_that_of_the_real_data(tmp_path):
    sample_files.write(FORMATS["hdf5"], tmp_path, NAME, FIELDS, LABELS)
    with h5py.File(tmp_path / f"data-{NAME}.h5") as file:
        assert file["climate/data"].shape == (16, 32, 16)
        assert file["climate/data"].dtype == np.float32
        assert file["climate/labels_0"].shape == (16, 32)
        assert file["climate/labels_0"].dtype == np.float32


def test_labels_take_one_byte_a_pixel_in_the_numpy_form(tmp_path):
    sample_files.write(FORMATS["numpy"], tmp_path, NAME, FIELDS, LABELS)
    assert np.load(tmp_path / f"label-{NAME}.npy").dtype == np.uint8


def with_value(row: int, column: int, channel: int, value: float) -> np.ndarray:
    fields = FIELDS.copy()
    fields[row, column, channel] = value
    return fields


def with_label(value: float) -> np.ndarray:
    labels = LABELS.astype(np.float32)
    labels[3, 4] = value
    return labels


FAULTS = {
    "missing channel": (FIELDS[..., :15], LABELS, r"found shape \(16, 32, 15\), expected \(H, W, 16\): TMQ U850 "),
    "two dimensions": (FIELDS[..., 0], LABELS, "found shape"),
    "not divisible": (FIELDS[:15], LABELS[:15], "15 x 32 pixels: both must be multiples of 16, such as 16 x 32"),
    "labels of another shape": (FIELDS, LABELS[:, :31], r"labels: found shape \(16, 31\), expected .* \(16, 32\)"),
    "nan": (with_value(3, 4, 6, np.nan), LABELS, "PS: found nan at row 3, column 4"),
    "infinity": (with_value(0, 0, 0, -np.inf), LABELS, "TMQ: found -inf at row 0, column 0"),
    "missing value": (with_value(3, 4, 5, 1e20), LABELS, r"QREFHT: found 1e\+20 at row 3, column 4, .*netCDF"),
    "another one": (with_value(3, 4, 5, 9.97e36), LABELS, r"QREFHT: found 9\.97e\+36 at row 3, column 4"),
    "a smaller one": (with_value(3, 4, 5, -2e15), LABELS, r"QREFHT: found -2e\+15 at row 3, column 4"),
    "label 3": (FIELDS, with_label(3), r"labels: found 3\.0 at row 3, column 4, expected 0 \(background\)"),
    "label in between": (FIELDS, with_label(0.5), "labels: found 0.5"),
    "label nan": (FIELDS, with_label(np.nan), "labels: found nan"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_the_file(tmp_path, fault):
    fields, labels, message = FAULTS[fault]
    path = tmp_path / f"data-{NAME}.h5"
    with h5py.File(path, "w") as file:
        file["climate/data"], file["climate/labels_0"] = fields, labels
    with pytest.raises(SampleError, match=message) as error:
        sample_files.read(FORMATS["hdf5"], tmp_path, NAME)
    assert str(error.value).startswith(f"{path}: ")


def test_a_label_3_of_one_byte_is_found_too(tmp_path):
    sample_files.write(FORMATS["numpy"], tmp_path, NAME, FIELDS, with_label(3))
    with pytest.raises(SampleError, match=rf"label-{NAME}\.npy: labels: found 3 at row 3"):
        sample_files.read(FORMATS["numpy"], tmp_path, NAME)


def test_double_precision_is_not_rounded_silently(tmp_path):
    with h5py.File(tmp_path / f"data-{NAME}.h5", "w") as file:
        file["climate/data"], file["climate/labels_0"] = FIELDS.astype(np.float64), LABELS
    with pytest.raises(SampleError, match="found float64, expected float32"):
        sample_files.read(FORMATS["hdf5"], tmp_path, NAME)


def test_a_missing_dataset_is_named(tmp_path):
    with h5py.File(tmp_path / f"data-{NAME}.h5", "w") as file:
        file["climate/data"] = FIELDS
    with pytest.raises(SampleError, match=r"labels_0.*expected 'climate/data' and 'climate/labels_0'"):
        sample_files.read(FORMATS["hdf5"], tmp_path, NAME)


@pytest.mark.parametrize("form", FORMATS)
def test_a_truncated_file_is_named(tmp_path, form):
    sample_files.write(FORMATS[form], tmp_path, NAME, FIELDS, LABELS)
    path = FORMATS[form].paths(tmp_path, NAME)[0]
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(SampleError, match=path.name):
        sample_files.read(FORMATS[form], tmp_path, NAME)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_zeros_is_named(tmp_path, form):
    path = FORMATS[form].paths(tmp_path, NAME)[0]
    path.write_bytes(bytes(1000))
    with pytest.raises(SampleError, match=path.name):
        sample_files.read(FORMATS[form], tmp_path, NAME)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SampleError, match=rf"data-{NAME}\.npy: no such file"):
        sample_files.read(FORMATS["numpy"], tmp_path, NAME)


def test_many_large_values_that_are_not_missing_are_accepted(tmp_path):
    fields = np.full_like(FIELDS, 9e14)
    sample_files.write(FORMATS["numpy"], tmp_path, NAME, fields, LABELS)
    found, _ = sample_files.read(FORMATS["numpy"], tmp_path, NAME)
    assert np.array_equal(found, fields)
