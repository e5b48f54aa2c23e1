# SPDX-License-Identifier: Apache-2.0
"""From the file of a universe to the files of its samples: crops in one of the three forms.

The samples of universe `univ_ics_2019-03_a1` are called `univ_ics_2019-03_a1_000`, `_001` and so on: crops that tile
the universe, in order of x, y, z with z fastest. A universe in a subfolder carries its name: `<subfolder>_univ_...`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmoflow import sample_files, tfrecord, universe_file
from cosmoflow.sample_files import FORMATS
from cosmoflow.universe_file import Universe, UniverseFile
from harness.data import manifest
from harness.data.manifest import DataFile
from harness.data.preparation import PrepareError


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """Options of the conversion, the same for each universe."""

    format: str
    """A name of samples.FORMATS."""
    compress: bool = False
    """True if TFRecord files are gzipped as a whole."""
    crop: int = 128
    """Voxels along each edge of a sample."""
    validation_fraction: float = 1 / 9
    """Share of the universes that is for validation; 1/9 in the MLPerf data of v1.0 and later, 1/5 in v0.7."""

    def __post_init__(self):
        if self.format not in FORMATS:
            raise PrepareError(f"--format: found {self.format!r}, expected one of {list(FORMATS)}")
        if self.compress and self.format != "tfrecord":
            raise PrepareError(f"--gzip: found it with --format {self.format}, expected it with tfrecord only")
        if not 0 < self.validation_fraction < 1:
            found = f"found {self.validation_fraction}"
            raise PrepareError(f"--validation-fraction: {found}, expected a number between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Result of the conversion of one universe."""

    synthetic: bool
    """True if the universe was simulated by synthesize.py."""
    files: tuple[DataFile, ...]
    """In sample order."""


def split_by_universe(names: list[str], validation_fraction: float) -> dict[str, str]:
    """Universe -> "train" or "validation": a share with the smallest hashes of their names, one at least of each."""
    if len(names) < 2:
        raise PrepareError(f"found {len(names)} universes, expected at least one for each of the two splits")
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    num_validation = min(max(1, round(len(names) * validation_fraction)), len(names) - 1)
    validation = set(by_hash[:num_validation])
    return {name: "validation" if name in validation else "train" for name in names}


def convert(path: Path, stem: Path, conversion: Conversion, *, folder: Path) -> Converted:
    """Write all samples of the universe at `path` as `stem`_000 and so on, below `folder`; each file at once."""
    files = []
    with UniverseFile(path) as source:
        for number, crop in enumerate(source.crops(conversion.crop)):
            written = _write_sample(stem.with_name(f"{stem.name}_{number:03d}"), crop, conversion)
            files += [manifest.describe(folder, path) for path in written]
        return Converted(synthetic=source.synthetic, files=tuple(files))


def _write_sample(stem: Path, crop: Universe, conversion: Conversion) -> tuple[Path, ...]:
    """Write one sample and return its files; under another name first, so that none is ever seen unfinished."""
    temporary_stem = stem.with_name(f".{stem.name}")
    WRITERS[conversion.format](temporary_stem, crop, conversion.compress)
    suffixes = FORMATS[conversion.format].suffixes
    if conversion.format == "tfrecord" and not conversion.compress:
        suffixes += (tfrecord.INDEX_SUFFIX,)
    for suffix in suffixes:
        Path(f"{temporary_stem}{suffix}").replace(f"{stem}{suffix}")
    return tuple(Path(f"{stem}{suffix}") for suffix in suffixes)


def _write_hdf5(stem: Path, crop: Universe, _compress: bool) -> None:
    universe_file.write(Path(f"{stem}.hdf5"), crop)


def _write_numpy(stem: Path, crop: Universe, _compress: bool) -> None:
    np.save(f"{stem}_data.npy", np.ascontiguousarray(sample_files.channels_first(stem, crop.full)))
    np.save(f"{stem}_label.npy", crop.unit_parameters.astype(np.float32))


def _write_tfrecord(stem: Path, crop: Universe, compress: bool) -> None:
    path = Path(f"{stem}.tfrecord")
    tfrecord.write(path, crop.full.astype("<i2", copy=False).tobytes(), crop.unit_parameters, compress=compress)
    if not compress:
        tfrecord.write_index(path, Path(f"{stem}{tfrecord.INDEX_SUFFIX}"))


WRITERS: dict[str, Callable[[Path, Universe, bool], None]] = {
    "hdf5": _write_hdf5,
    "numpy": _write_numpy,
    "tfrecord": _write_tfrecord,
}
