# SPDX-License-Identifier: Apache-2.0
"""One sample on disk, in each of the three forms that CosmoFlow comes in.

    hdf5      <name>.hdf5                     `full` (D, D, D, 4) int16, `unitPar` (4,): a universe, or a crop of one
    numpy     <name>_data.npy, _label.npy     (4, D, D, D) or (D, D, D, 4) int16; (4,) float32
    tfrecord  <name>.tfrecord                 features `x` (D, D, D, 4) int16 bytes and `y` 4 float32, plain or gzip

Files hold the redshifts last, networks want them first: reading moves that axis, here and nowhere else.

Shape legend: D voxels along each edge, C = 4 redshifts; volume_CDHW int16, target (4,) float32 in [-1, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from compliance.files.errors import UserError
from cosmoflow import tfrecord

NUM_REDSHIFTS = 4
NUM_TARGETS = 4


class SampleError(UserError):
    """A file that holds no CosmoFlow sample; the text names the file, what was found and what was expected."""


@dataclass(frozen=True, kw_only=True)
class SampleFormat:
    """How a sample is laid out in files."""

    name: str
    """Word of the command lines and the manifest."""
    suffixes: tuple[str, ...]
    """Endings of a sample's files, after its name; the first holds the volume."""
    read: Callable[[Path], tuple[np.ndarray, np.ndarray]]
    """Path without suffix -> (volume_CDHW or volume_DHWC as it lies on disk, target), unchecked."""

    def paths(self, stem: Path) -> tuple[Path, ...]:
        """The files of the sample at `stem`, which has no suffix."""
        return tuple(stem.with_name(stem.name + suffix) for suffix in self.suffixes)


def read(sample_format: SampleFormat, stem: Path) -> tuple[np.ndarray, np.ndarray]:
    """(volume_CDHW int16, target float32) of one sample; SampleError where it is not one.

    The volume may be a view with the strides of its file: copying it to where it belongs transposes it, once.
    """
    path = sample_format.paths(stem)[0]
    try:
        volume, target = sample_format.read(stem)
    except OSError as error:  # h5py reports a truncated file so, without its name
        raise SampleError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None
    except KeyError as error:
        raise SampleError(f"{path}: {error.args[0]}; expected the datasets 'full' and 'unitPar'") from None
    except tfrecord.TFRecordError as error:
        raise SampleError(str(error)) from None
    except (ValueError, EOFError) as error:  # numpy reports a truncated or foreign .npy file so
        raise SampleError(f"{path}: {error}") from None
    return checked_counts(path, volume), _checked_target(path, target)


def checked_counts(path: Path, volume: np.ndarray) -> np.ndarray:
    """View, as volume_CDHW, of a volume of particle counts; SampleError if one is negative."""
    volume_CDHW = channels_first(path, volume)
    if volume_CDHW.size and volume_CDHW.min() < 0:
        redshift, *voxel = np.argwhere(volume_CDHW < 0)[0].tolist()
        found = f"found {volume_CDHW[redshift, *voxel]} at voxel {voxel} of redshift {redshift}"
        raise SampleError(f"{path}: counts: {found}, expected no negative numbers; download or convert the file again")
    return volume_CDHW


def channels_first(path: Path, volume: np.ndarray) -> np.ndarray:
    """View, as volume_CDHW, of a cubic int16 volume with its four redshifts first or last."""
    if volume.dtype != np.int16:
        raise SampleError(f"{path}: dtype: found {volume.dtype}, expected int16")
    shape, edge = volume.shape, volume.shape[1] if volume.ndim == 4 else 0
    if shape == (NUM_REDSHIFTS, edge, edge, edge):
        return volume
    if shape == (edge, edge, edge, NUM_REDSHIFTS):
        return np.moveaxis(volume, -1, 0)
    raise SampleError(f"{path}: shape: found {shape}, expected (4, D, D, D) or (D, D, D, 4)")


def _checked_target(path: Path, target: np.ndarray) -> np.ndarray:
    if target.shape != (NUM_TARGETS,) or target.dtype.kind != "f":
        raise SampleError(f"{path}: target: found {target.dtype} {target.shape}, expected float32 (4,)")
    if not np.isfinite(target).all():
        raise SampleError(f"{path}: target: found {target}, expected finite numbers")
    return target.astype(np.float32)


def _read_hdf5(stem: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(f"{stem}.hdf5", "r") as file:
        return file["full"][()], file["unitPar"][()]


def _read_numpy(stem: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(f"{stem}_data.npy"), np.load(f"{stem}_label.npy")


def _read_tfrecord(stem: Path) -> tuple[np.ndarray, np.ndarray]:
    x, target = tfrecord.read(Path(f"{stem}.tfrecord"))
    edge = round((len(x) / 2 / NUM_REDSHIFTS) ** (1 / 3))
    if len(x) != 2 * NUM_REDSHIFTS * edge**3:
        raise ValueError(f"feature 'x': found {len(x)} bytes, expected 8 D^3 of some D")
    return np.frombuffer(x, dtype="<i2").reshape(edge, edge, edge, NUM_REDSHIFTS), target


FORMATS = {
    sample_format.name: sample_format
    for sample_format in (
        SampleFormat(name="hdf5", suffixes=(".hdf5",), read=_read_hdf5),
        SampleFormat(name="numpy", suffixes=("_data.npy", "_label.npy"), read=_read_numpy),
        SampleFormat(name="tfrecord", suffixes=(".tfrecord",), read=_read_tfrecord),
    )
}
