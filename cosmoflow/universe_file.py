# SPDX-License-Identifier: Apache-2.0
"""The HDF5 file of one universe, as the original data set has it; a crop of one has the same layout.

    full       (D, D, D, 4) int16    particles in each voxel at four redshifts
    namePar    (4,) bytes            names of the parameters, in the order of the targets
    physPar    (4,) float32          their values
    unitPar    (4,) float32          the targets: the values mapped to [-1, 1]
    redshifts  (4,) float32

A file written by synthesize.py carries the attribute `synthetic`, and so do the crops cut from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from cosmoflow.sample_files import NUM_REDSHIFTS, SampleError

PARAMETER_NAMES = (b"Omega_m", b"sigma_8", b"N_spec", b"H_0")


@dataclass(frozen=True, kw_only=True)
class Universe:
    """Everything the file of a universe, or of a crop, says."""

    full: np.ndarray
    """(D, D, D, 4) int16."""
    unit_parameters: np.ndarray
    """(4,) targets in [-1, 1]."""
    physical_parameters: np.ndarray
    """(4,) Omega_M, sigma_8, n_s, H_0 in km/s/Mpc."""
    names: np.ndarray
    """(4,) names of the parameters, as bytes."""
    redshifts: np.ndarray
    """(4,) redshifts of the last axis of `full`."""
    synthetic: bool
    """True if it was simulated by synthesize.py."""


def write(path: Path, universe: Universe) -> None:
    """Write the file of a universe."""
    with h5py.File(path, "w") as file:
        file["full"] = universe.full
        file["namePar"] = universe.names
        file["physPar"] = universe.physical_parameters.astype(np.float32)
        file["unitPar"] = universe.unit_parameters.astype(np.float32)
        file["redshifts"] = universe.redshifts.astype(np.float32)
        if universe.synthetic:
            file.attrs["synthetic"] = True


class UniverseFile:
    """An open universe that is read a slab at a time: the original `full` takes a gigabyte.

    SampleError where the file is not one; the text names the dataset, what was found and what was expected.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise SampleError(f"{path}: cannot be read: {error}") from None
        missing = {"full", "namePar", "physPar", "unitPar", "redshifts"} - self._file.keys()
        if missing:
            raise SampleError(f"{path}: found {sorted(self._file)}, expected a universe: missing {sorted(missing)}")
        self._full, self.size = self._file["full"], self._file["full"].shape[0]
        if self._full.shape != (self.size, self.size, self.size, NUM_REDSHIFTS) or self._full.dtype != np.int16:
            found = f"found {self._full.dtype} {self._full.shape}"
            raise SampleError(f"{path}: full: {found}, expected int16 (D, D, D, 4)")

    def __enter__(self) -> "UniverseFile":
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()

    @property
    def synthetic(self) -> bool:
        """True if it was simulated by synthesize.py."""
        return bool(self._file.attrs.get("synthetic", False))

    @property
    def num_bytes(self) -> int:
        """Size of `full`, and of all its crops, uncompressed."""
        return self._full.nbytes

    def check_crop(self, edge: int) -> None:
        """Raise SampleError where crops of edge^3 voxels do not tile the universe."""
        if edge < 1 or self.size % edge:
            raise SampleError(f"{self.path}: full: found an edge of {self.size}, expected a multiple of {edge}")

    def crops(self, edge: int) -> Iterator[Universe]:
        """Crops of edge^3 voxels that tile the universe, as Universe, in order of x, y, z with z fastest."""
        self.check_crop(edge)
        particles = np.zeros(NUM_REDSHIFTS, dtype=np.int64)
        header = self._header()
        for x in range(0, self.size, edge):
            slab = self._slab(x, edge)
            particles += slab.sum(axis=(0, 1, 2), dtype=np.int64)
            for y in range(0, self.size, edge):
                for z in range(0, self.size, edge):
                    yield replace(header, full=np.ascontiguousarray(slab[:, y : y + edge, z : z + edge]))
        if (particles != self.size**3).any():
            found = f"found {particles.tolist()} particles at the four redshifts"
            raise SampleError(f"{self.path}: full: {found}, expected {self.size**3} at each: fetch it again")

    def _header(self) -> Universe:
        return Universe(
            full=np.empty(0, dtype=np.int16),
            unit_parameters=self._file["unitPar"][()],
            physical_parameters=self._file["physPar"][()],
            names=self._file["namePar"][()],
            redshifts=self._file["redshifts"][()],
            synthetic=self.synthetic,
        )

    def _slab(self, start: int, thickness: int) -> np.ndarray:
        try:
            return self._full[start : start + thickness]
        except OSError as error:
            raise SampleError(f"{self.path}: full: cannot be read: {error}") from None
