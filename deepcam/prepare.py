# SPDX-License-Identifier: Apache-2.0
"""Turn the downloaded climate data into a data set for training: split, converted, with stats.h5 and a manifest.

    python -m deepcam.prepare RAW OUT --format numpy       # or fused, or hdf5: see deepcam.sample_files
    python -m deepcam.prepare --verify OUT                 # every byte against the manifest
    python -m deepcam.prepare --describe OUT               # stats.h5 and manifest of samples made elsewhere

RAW holds either train/ and validation/, which are kept, or all data-*.h5 in one folder, which are split as the MLPerf
HPC reference splits them: 80 % train, 10 % validation, 10 % test, by a shuffle of the sorted names that is the same
everywhere. RAW's stats.h5, where there is one, is taken over; else it is computed on the training samples. Every sample
is checked. Interrupted, the same command goes on where it was.
"""

import argparse
import os
import shutil
import sys
from functools import partial
from pathlib import Path

from compliance.command_line import Parser
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = cli.preparation_parser("deepcam.prepare", __doc__, raw="folder of the downloaded data")
    add = parser.add_argument
    add("--describe", type=Path, metavar="FOLDER", help="write stats.h5 and manifest of others' samples instead")
    add("--format", choices=("hdf5", "numpy", "fused"), default="numpy", help="form of the samples (%(default)s)")
    return parser


cli.answer_early(__name__, options())

import numpy as np

from deepcam import sample_files
from deepcam.channel_statistics import FILE_NAME as STATISTICS_NAME
from deepcam.channel_statistics import Statistics
from deepcam.conversion import WrittenSample, describe_sample, finish, summary
from deepcam.sample_files import FORMATS, SampleFormat
from harness import progress
from harness.data import manifest, preparation
from harness.data.manifest import Manifest
from harness.data.preparation import PrepareError

SPLITS = ("train", "validation", "test")
TRAIN_FRACTION, VALIDATION_FRACTION = 0.8, 0.1
SPLIT_SEED = 12345


def prepare(raw: Path, out: Path, sample_format: SampleFormat, *, num_processes: int) -> Manifest:
    """Convert every sample of `raw` into `out`; returns the manifest, which is written last."""
    source_format, splits = find_samples(raw)
    if out.resolve() == raw.resolve():
        raise PrepareError(f"{out}: is RAW itself; choose another folder, or use --describe")
    _check_space(raw, out, source_format, splits, sample_format)
    with preparation.begun(out, {"source": str(raw), "format": sample_format.name}):
        for split in splits:
            (out / split).mkdir(exist_ok=True)
        (out / STATISTICS_NAME).unlink(missing_ok=True)
        if (raw / STATISTICS_NAME).exists():
            Statistics.load(raw / STATISTICS_NAME)
            shutil.copyfile(raw / STATISTICS_NAME, out / STATISTICS_NAME)
        written = _convert_all(out, source_format, splits, sample_format, num_processes)
        provenance = {"source": str(raw), "split_seed": SPLIT_SEED}
        described = finish(
            out, written, sample_format, synthetic=_is_synthetic(raw), provenance=provenance, tool="deepcam.prepare"
        )
        preparation.finish(out, described)
    return described


def describe(folder: Path, *, num_processes: int) -> Manifest:
    """Write the manifest of a folder that already holds train/ and validation/, and stats.h5 where it lacks one."""
    sample_format, splits = find_samples(folder)
    if not all((folder / split).is_dir() for split in splits):
        raise PrepareError(f"{folder}: found no {folder / 'train'}; expected samples already split")
    tasks = {
        (split, path.name): partial(describe_sample, folder, split, sample_format, path.name)
        for split, paths in splits.items()
        for path in paths
    }
    written = _in_splits(tasks, splits, "reading", num_processes)
    return finish(
        folder, written, sample_format, synthetic=_is_synthetic(folder), provenance={}, tool="deepcam.prepare"
    )


def find_samples(raw: Path) -> tuple[SampleFormat, dict[str, list[Path]]]:
    """The form of the samples in `raw`, and their folder / identifier in each split."""
    if not raw.is_dir():
        raise PrepareError(f"{raw}: no such folder; expected the downloaded samples there")
    folders = {split: raw / split for split in SPLITS if (raw / split).is_dir()} or {"": raw}
    names = {split: sorted(entry.name for entry in os.scandir(folder)) for split, folder in folders.items()}
    for sample_format in FORMATS.values():
        found = {
            split: [
                folders[split] / identifier for name in names[split] if (identifier := sample_format.identifier(name))
            ]
            for split in folders
        }
        if any(found.values()):
            splits = split_by_name(sample_format, found[""]) if "" in found else found
            return sample_format, _checked(raw, splits)
    patterns = ", ".join(sample_format.patterns[0].format("*") for sample_format in FORMATS.values())
    raise PrepareError(f"{raw}: found no samples, expected {patterns} there or in train/ and validation/ below")


def split_by_name(sample_format: SampleFormat, paths: list[Path]) -> dict[str, list[Path]]:
    """The reference's split: a seeded shuffle of the sorted file names, then 80, 10 and 10 % in that order."""
    names = sorted(sample_format.patterns[0].format(path.name) for path in paths)
    by_name = {sample_format.patterns[0].format(path.name): path for path in paths}
    np.random.RandomState(SPLIT_SEED).shuffle(names)
    num_train, num_validation = int(len(names) * TRAIN_FRACTION), int(len(names) * VALIDATION_FRACTION)
    parts = (names[:num_train], names[num_train : num_train + num_validation], names[num_train + num_validation :])
    return {split: sorted(by_name[name] for name in part) for split, part in zip(SPLITS, parts, strict=True)}


def _checked(raw: Path, splits: dict[str, list[Path]]) -> dict[str, list[Path]]:
    for split in ("train", "validation"):
        if not splits.get(split):
            num_samples = sum(map(len, splits.values()))
            raise PrepareError(f"{raw}: found no sample for {split} among {num_samples}; expected at least 10 in all")
    return splits


def _convert_all(
    out: Path,
    source_format: SampleFormat,
    splits: dict[str, list[Path]],
    sample_format: SampleFormat,
    num_processes: int,
) -> dict[str, list[WrittenSample]]:
    convert = partial(_convert, out=out, source_format=source_format, sample_format=sample_format)
    tasks = {
        (split, path.name): partial(convert, path.parent, split, path.name)
        for split, paths in splits.items()
        for path in paths
    }
    return _in_splits(tasks, splits, "converting", num_processes)


def _convert(
    folder: Path, split: str, identifier: str, *, out: Path, source_format: SampleFormat, sample_format: SampleFormat
) -> WrittenSample:
    """One sample; one that is there already, from an interrupted run, is only read."""
    if not all(path.exists() for path in sample_format.paths(out / split, identifier)):
        sample_files.write(
            sample_format, out / split, identifier, *sample_files.read(source_format, folder, identifier)
        )
    return describe_sample(out, split, sample_format, identifier)


def _in_splits(
    tasks: dict, splits: dict[str, list[Path]], title: str, num_processes: int
) -> dict[str, list[WrittenSample]]:
    """Do the tasks in parallel; the results by split, in the order of the names. The first broken sample ends all."""
    done = dict(progress.tracked(preparation.in_processes(tasks, num_processes), title, total=len(tasks)))
    return {split: [done[split, path.name] for path in paths] for split, paths in splits.items()}


def _check_space(
    raw: Path, out: Path, source_format: SampleFormat, splits: dict[str, list[Path]], sample_format: SampleFormat
) -> None:
    """Refuse to begin what the file system cannot hold: judged by the first sample."""
    first = splits["train"][0]
    fields_HWC, labels_HW = sample_files.read(source_format, first.parent, first.name)
    label_bytes = {"numpy": 1}.get(sample_format.name, 4) * labels_HW.size
    wanted = (fields_HWC.nbytes + label_bytes) * sum(map(len, splits.values()))
    preparation.check_space(out, wanted, f" for the samples of {raw}")


def _is_synthetic(folder: Path) -> bool:
    return (folder / manifest.FILE_NAME).exists() and Manifest.load(folder).synthetic


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = options()
    given = parser.parse_args(arguments)
    return cli.report("prepare", lambda: _run(parser, given), resumes=True)


def _run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> str:
    if given.verify:
        folder, described = given.verify, manifest.verify_whole(given.verify)
    elif given.describe:
        folder, described = given.describe, describe(given.describe, num_processes=given.workers)
    elif given.raw and given.out:
        form = FORMATS[given.format]
        folder, described = given.out, prepare(given.raw, given.out, form, num_processes=given.workers)
    else:
        parser.error("expected RAW and OUT, --describe OUT, or --verify OUT")
    return f"{folder}: {described.format}\n{summary(described)}"


if __name__ == "__main__":
    sys.exit(main())
