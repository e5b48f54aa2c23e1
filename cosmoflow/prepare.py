# SPDX-License-Identifier: Apache-2.0
"""Turn downloaded universes into a data set for training: crops in a chosen form, split by universe, with a manifest.

    python -m cosmoflow.prepare RAW OUT --format tfrecord --gzip       # 64 crops of 128^3 of each 512^3 universe
    python -m cosmoflow.prepare RAW OUT --format numpy --crop 32 --validation-fraction 0.2
    python -m cosmoflow.prepare --verify OUT                           # every byte against the manifest
    python -m cosmoflow.prepare --describe OUT                         # manifest, and DALI's index, of others' samples

Every universe is in one split only. Its name alone decides: the universes with the smallest SHA-256 of their names are
for validation, so the split is the same everywhere. Interrupted, the same command goes on where it was.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from compliance.command_line import Parser
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = cli.preparation_parser("cosmoflow.prepare", __doc__, raw="folder of universes *.hdf5, at any depth")
    add = parser.add_argument
    add("--describe", type=Path, metavar="FOLDER", help="write the manifest of others' samples instead")
    add("--format", choices=("hdf5", "numpy", "tfrecord"), default="tfrecord", help="form of the samples (%(default)s)")
    add("--gzip", action="store_true", help="compress TFRecord files as a whole")
    add("--crop", type=cli.positive, default=128, metavar="N", help="voxels along each edge (%(default)s)")
    share = "share of the universes for validation (1/9; 0.2 for v0.7)"
    add("--validation-fraction", type=float, default=1 / 9, metavar="SHARE", help=share)
    return parser


cli.answer_early(__name__, options())

from cosmoflow import data, sample_files, tfrecord
from cosmoflow.conversion import Conversion, Converted, convert, split_by_universe
from cosmoflow.sample_files import FORMATS
from cosmoflow.universe_file import UniverseFile
from harness import progress
from harness.data import manifest, preparation
from harness.data.manifest import Array, DataFile, Manifest, ManifestError, Split
from harness.data.preparation import SPLITS, PrepareError

ASSUMED_GZIP_RATIO = 3
"""Compression ratio that the disk-space check counts on; the original data and the simulated reach 5.5 to 5.9."""


def prepare(raw: Path, out: Path, conversion: Conversion, *, num_workers: int) -> Manifest:
    """Convert every universe below `raw` to samples in `out`; returns the manifest, which is written last."""
    universes = {_name(raw, path): path for path in sorted(raw.rglob("*.hdf5"))}
    if not universes:
        raise PrepareError(f"{raw}: found no universes *.hdf5 there or below")
    splits = split_by_universe(list(universes), conversion.validation_fraction)
    _check_space(out, universes, conversion)
    tasks = {
        name: partial(convert, path, out / splits[name] / name, conversion, folder=out)
        for name, path in universes.items()
    }
    with preparation.begun(out, {**asdict(conversion), "splits": splits}):
        converted = preparation.completed(out, tasks, Converted, num_workers=num_workers)
        complete = _prepared(raw, splits, conversion, converted)
        preparation.finish(out, complete)
    return complete


def _prepared(raw: Path, splits: dict[str, str], conversion: Conversion, converted: dict[str, Converted]) -> Manifest:
    return _described(
        {
            split: [file for name in splits if splits[name] == split for file in converted[name].files]
            for split in SPLITS
        },
        sample_format=conversion.format,
        compressed=conversion.compress,
        edge=conversion.crop,
        synthetic=any(universe.synthetic for universe in converted.values()),
        provenance={"source": str(raw), "universes": len(converted), **asdict(conversion)},
    )


def verify(folder: Path) -> Manifest:
    """Read every file of a prepared data set; ManifestError naming what differs, is missing or is not listed."""
    listed = manifest.verify_whole(folder)
    paths = {file.path for split in listed.splits.values() for file in split.files}
    present = {path.relative_to(folder).as_posix() for split in listed.splits for path in (folder / split).iterdir()}
    if unlisted := sorted(present - paths):
        raise ManifestError(f"{folder / unlisted[0]}: found {len(unlisted)} files that the manifest does not list")
    return listed


def describe(folder: Path) -> Manifest:
    """Write the manifest of samples that were prepared elsewhere, and the index of uncompressed TFRecord files."""
    if (folder / manifest.FILE_NAME).exists():
        raise ManifestError(f"{folder / manifest.FILE_NAME}: found a manifest; --verify checks the data against it")
    datasets = {split: data.open_split(folder, split) for split in SPLITS}
    first = datasets["train"]
    compressed = first.sample_format.name == "tfrecord" and tfrecord.is_compressed(Path(f"{first.stems[0]}.tfrecord"))
    with progress.counted("describing", sum(map(len, datasets.values()))) as advance:
        files = {split: list(_described_files(folder, datasets[split], compressed, advance)) for split in SPLITS}
    described = _described(
        files,
        sample_format=first.sample_format.name,
        compressed=compressed,
        edge=first.sample_shape[-1],
        synthetic=False,
        provenance={"source": "prepared elsewhere, described as found"},
    )
    described.save(folder)
    return described


def _described(
    files: dict[str, list[DataFile]],
    *,
    sample_format: str,
    compressed: bool,
    edge: int,
    synthetic: bool,
    provenance: dict[str, str | int | float | bool],
) -> Manifest:
    suffix = FORMATS[sample_format].suffixes[0]
    return Manifest(
        benchmark="cosmoflow",
        synthetic=synthetic,
        format=sample_format,
        compression="gzip" if compressed else None,
        arrays={
            "volume": Array(dtype="int16", shape=(4, edge, edge, edge)),
            "target": Array(dtype="float32", shape=(4,)),
        },
        splits={
            split: Split(num_samples=sum(file.path.endswith(suffix) for file in listed), files=tuple(listed))
            for split, listed in files.items()
        },
        provenance=provenance,
        tool="cosmoflow.prepare",
        tool_version=manifest.tool_version(),
    )


def _described_files(
    folder: Path, dataset: data.Dataset, compressed: bool, advance: Callable[[], None]
) -> Iterator[DataFile]:
    for stem in map(Path, dataset.stems):
        sample_files.read(dataset.sample_format, stem)  # raises SampleError for a broken sample
        paths = dataset.sample_format.paths(stem)
        if dataset.sample_format.name == "tfrecord" and not compressed:
            paths += (Path(f"{stem}{tfrecord.INDEX_SUFFIX}"),)
            tfrecord.write_index(paths[0], paths[1])
        yield from (manifest.describe(folder, path) for path in paths)
        advance()


def _name(raw: Path, path: Path) -> str:
    """Name of a universe: unique, since its subfolders are part of it, as in the published v1.0 data."""
    return "_".join(path.relative_to(raw).with_suffix("").parts)


def _check_space(out: Path, universes: dict[str, Path], conversion: Conversion) -> None:
    """Read the first universe's header, and raise PrepareError where the disk has too little room for all."""
    with UniverseFile(next(iter(universes.values()))) as first:
        first.check_crop(conversion.crop)
        num_bytes = len(universes) * first.num_bytes // (ASSUMED_GZIP_RATIO if conversion.compress else 1)
    preparation.check_space(out, num_bytes, f" for {len(universes)} universes")


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = options()
    given = parser.parse_args(arguments)
    return cli.report("prepare", lambda: _summary(*_run(parser, given)), resumes=True)


def _summary(folder: Path, done: Manifest) -> str:
    counts = ", ".join(f"{split.num_samples} {name}" for name, split in done.splits.items())
    num_bytes = sum(file.bytes for split in done.splits.values() for file in split.files)
    kind = "synthetic " if done.synthetic else ""
    return f"{folder}: {kind}{done.format} samples: {counts}; {num_bytes / 2**20:.1f} MiB, as its manifest says"


def _run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> tuple[Path, Manifest]:
    if given.verify:
        return given.verify, verify(given.verify)
    if given.describe:
        return given.describe, describe(given.describe)
    if not given.out:
        parser.error("expected RAW and OUT, or --verify FOLDER, or --describe FOLDER")
    conversion = Conversion(
        format=given.format,
        compress=given.gzip,
        crop=given.crop,
        validation_fraction=given.validation_fraction,
    )
    return given.out, prepare(given.raw, given.out, conversion, num_workers=given.workers)


if __name__ == "__main__":
    sys.exit(main())
