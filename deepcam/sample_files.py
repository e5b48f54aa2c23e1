# SPDX-License-Identifier: Apache-2.0
"""One sample on disk, in each of the three forms that DeepCAM comes in.

    hdf5    data-<id>.h5                    `climate/data` (H, W, 16) float32, `climate/labels_0` (H, W) float32
    numpy   data-<id>.npy, label-<id>.npy   (H, W, 16) float32; (H, W) uint8, a quarter of the bytes and lossless
    fused   datalabel-<id>.npy              (H, W, 17) float32: the labels are the last channel; one read a sample

<id> is the simulated date and run, such as 2000-01-01-00-0. Channels come last on disk; read so, a batch is what
PyTorch calls channels_last, and nothing is ever transposed.

Shape legend: H x W pixels (latitude x longitude), C = 16 channels; fields_HWC float32, labels_HW uint8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from compliance.files.errors import UserError
from deepcam.model import InputSizeError, check_input_size

CHANNELS = (
    *("TMQ", "U850", "V850", "UBOT", "VBOT", "QREFHT", "PS", "PSL"),
    *("T200", "T500", "PRECT", "TS", "TREFHT", "Z1000", "Z200", "ZBOT"),
)
"""The fields of a sample in their order on disk: the variables of the CAM5 climate model."""
NUM_CHANNELS = len(CHANNELS)
NUM_CLASSES = 3
MISSING_FROM = 1e15
"""No field comes near; netCDF marks missing values with 1e20 or 9.97e36."""

Sample = tuple[np.ndarray, np.ndarray]


class SampleError(UserError):
    """A file that holds no DeepCAM sample; the text names the file, what was found and what was expected."""


@dataclass(frozen=True, kw_only=True)
class SampleFormat:
    """How a sample is laid out in files."""

    name: str
    """Word of the command lines and the manifest."""
    patterns: tuple[str, ...]
    """Names of a sample's files, with {} for its identifier; the first holds the fields."""
    read: Callable[[list[Path], np.ndarray | None], Sample]
    """The files -> (fields, labels) as they lie on disk, unchecked; see `read` below for the second argument."""
    write: Callable[[list[Path], np.ndarray, np.ndarray], None]
    """The files, fields_HWC and labels_HW -> the files."""

    def paths(self, folder: Path, identifier: str) -> list[Path]:
        """The files of one sample."""
        return [folder / pattern.format(identifier) for pattern in self.patterns]

    def identifier(self, name: str) -> str | None:
        """The sample whose fields the file called `name` holds, or None."""
        start, end = self.patterns[0].split("{}")
        return name[len(start) : -len(end)] if name.startswith(start) and name.endswith(end) else None


def read(sample_format: SampleFormat, folder: Path, identifier: str, out: np.ndarray | None = None) -> Sample:
    """(fields_HWC float32, labels_HW uint8) of one sample; SampleError where it is not one.

    Where the file's shape and type are those of `out`, and the form allows, the fields are read into it and are `out`:
    memory that a batch has already costs less than fresh memory and a copy.
    """
    paths = sample_format.paths(folder, identifier)
    try:
        fields, labels = sample_format.read(paths, out)
    except FileNotFoundError as error:
        raise SampleError(f"{error.filename or paths[0]}: no such file") from None
    except OSError as error:  # h5py reports a truncated file so, without its name
        raise SampleError(f"{error.filename or paths[0]}: cannot be read: {error.strerror or error}") from None
    except KeyError as error:
        raise SampleError(f"{paths[0]}: {error.args[0]}; expected 'climate/data' and 'climate/labels_0'") from None
    except (ValueError, EOFError) as error:  # numpy reports a truncated or foreign .npy file so
        raise SampleError(f"{paths[0]}: {error}") from None
    return check(paths, fields, labels)


def check(paths: list[Path], fields: np.ndarray, labels: np.ndarray) -> Sample:
    """The sample as a network takes it; SampleError where it is not one.

    Every value is looked at: no NaN, no infinity and no fourth class goes into a training run.
    """
    return _checked_fields(paths[0], fields), _checked_labels(paths[-1], labels, fields.shape[:2])


def split_fused(joined: np.ndarray) -> Sample:
    """(..., 17) -> the fields and, as the last channel, the labels."""
    return joined[..., :-1], joined[..., -1]


def write(sample_format: SampleFormat, folder: Path, identifier: str, fields: np.ndarray, labels: np.ndarray) -> None:
    """Write one sample: each file at once or not at all."""
    paths = sample_format.paths(folder, identifier)
    temporaries = [path.with_name(f".{path.name}") for path in paths]
    sample_format.write(temporaries, fields, labels)
    for temporary, path in zip(temporaries, paths, strict=True):
        temporary.replace(path)


def _checked_fields(path: Path, fields: np.ndarray) -> np.ndarray:
    if fields.ndim != 3 or fields.shape[-1] != NUM_CHANNELS:
        raise SampleError(
            f"{path}: fields: found shape {fields.shape}, expected (H, W, {NUM_CHANNELS}): {' '.join(CHANNELS)}"
        )
    try:
        check_input_size(*fields.shape[:2])
    except InputSizeError as error:
        raise SampleError(f"{path}: {error}") from None
    if fields.dtype != np.float32:
        raise SampleError(f"{path}: fields: found {fields.dtype}, expected float32")
    fields = np.ascontiguousarray(fields)
    flat = fields.reshape(-1)
    # The dot product with itself, the cheapest pass over memory, is as large for one missing value, and NaN for a NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.dot(flat, flat) < MISSING_FROM**2
    if suspicious and (fault := _first_fault(fields)):
        raise SampleError(f"{path}: {fault}")
    return fields


def _first_fault(fields_HWC: np.ndarray) -> str | None:
    wrong = np.argwhere(~(np.abs(fields_HWC) < MISSING_FROM))
    if not len(wrong):
        return None
    row, column, channel = wrong[0]
    found = fields_HWC[row, column, channel]
    expected = f"expected finite numbers below {MISSING_FROM:g}; netCDF marks missing values with 1e20 or 9.97e36"
    return f"{CHANNELS[channel]}: found {found:g} at row {row}, column {column}, {expected}"


def _checked_labels(path: Path, labels: np.ndarray, expected_shape: tuple[int, ...]) -> np.ndarray:
    if labels.shape != expected_shape:
        raise SampleError(f"{path}: labels: found shape {labels.shape}, expected that of the fields, {expected_shape}")
    with np.errstate(invalid="ignore"):
        narrow = labels.astype(np.uint8, copy=False)
    wrong = (narrow != labels) | (narrow >= NUM_CLASSES)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise SampleError(
            f"{path}: labels: found {labels[row, column]} at row {row}, column {column}, "
            "expected 0 (background), 1 (tropical cyclone) or 2 (atmospheric river)"
        )
    return np.ascontiguousarray(narrow)


def _read_hdf5(paths: list[Path], out: np.ndarray | None) -> Sample:
    with h5py.File(paths[0], "r") as file:
        stored = file["climate/data"]
        if out is None or (stored.shape, stored.dtype) != (out.shape, out.dtype):
            return stored[()], file["climate/labels_0"][()]
        stored.read_direct(out)
        return out, file["climate/labels_0"][()]


def _write_hdf5(paths: list[Path], fields_HWC: np.ndarray, labels_HW: np.ndarray) -> None:
    with h5py.File(paths[0], "w") as file:
        file["climate/data"] = fields_HWC.astype(np.float32, copy=False)
        file["climate/labels_0"] = labels_HW.astype(np.float32)


def _read_numpy(paths: list[Path], out: np.ndarray | None) -> Sample:
    return _load(paths[0], out), np.load(paths[1])


def _load(path: Path, out: np.ndarray | None) -> np.ndarray:
    """np.load, into `out` where the file holds just such an array."""
    with path.open("rb") as stream:
        if out is None or np.lib.format.read_magic(stream) != (1, 0):
            return np.load(path)
        if np.lib.format.read_array_header_1_0(stream) != (out.shape, False, out.dtype):
            return np.load(path)
        if stream.readinto(memoryview(out).cast("B")) != out.nbytes:
            raise ValueError("ends before its array does")
    return out


def _write_numpy(paths: list[Path], fields_HWC: np.ndarray, labels_HW: np.ndarray) -> None:
    for path, array in zip(paths, (fields_HWC.astype(np.float32), labels_HW.astype(np.uint8)), strict=True):
        with path.open("wb") as stream:  # np.save would add .npy to a temporary name
            np.save(stream, array)


def _read_fused(paths: list[Path], _out: np.ndarray | None) -> Sample:
    return split_fused(np.load(paths[0]))


def _write_fused(paths: list[Path], fields_HWC: np.ndarray, labels_HW: np.ndarray) -> None:
    with paths[0].open("wb") as stream:
        np.save(stream, np.concatenate([fields_HWC, labels_HW[..., None]], axis=-1, dtype=np.float32))


FORMATS = {
    sample_format.name: sample_format
    for sample_format in (
        SampleFormat(name="hdf5", patterns=("data-{}.h5",), read=_read_hdf5, write=_write_hdf5),
        SampleFormat(name="numpy", patterns=("data-{}.npy", "label-{}.npy"), read=_read_numpy, write=_write_numpy),
        SampleFormat(name="fused", patterns=("datalabel-{}.npy",), read=_read_fused, write=_write_fused),
    )
}
