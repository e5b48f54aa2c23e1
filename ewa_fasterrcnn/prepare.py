# SPDX-License-Identifier: Apache-2.0
"""Turn downloaded year files into a data set for training: checked, split by year, with statistics and a manifest.

    python -m ewa_fasterrcnn.prepare RAW OUT                       # links to RAW's climo_1979.h5 to climo_1987.h5
    python -m ewa_fasterrcnn.prepare RAW OUT --copy --train-years 1979-1986 --validation-years 1987
    python -m ewa_fasterrcnn.prepare --verify OUT                  # every byte against the manifest
    python -m ewa_fasterrcnn.prepare --describe FOLDER             # years that are in train/ and validation/ already

The split is by year, so that no storm is in both parts: of the nine years 1979 to 1987 the first eight train (11,680
images) and the last one evaluates (1,460). The report names nine years and no split; this one is the rules'.

Every image is read once for the statistics. Interrupted, the same command goes on with the years that are missing.
"""

import argparse
import shutil
import sys
from collections.abc import Container, Mapping
from functools import partial
from pathlib import Path

from compliance.command_line import Parser
from harness import cli


def year_range(text: str) -> list[int]:
    """'1979-1981,1984' as years; ValueError, which argparse reports, for anything else."""
    years = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        years += range(int(first), int(last or first) + 1)
    if not years:
        raise ValueError(text)
    return years


def options() -> Parser:
    """Options of the command."""
    parser = cli.preparation_parser("ewa_fasterrcnn.prepare", __doc__, raw="folder of year files")
    add = parser.add_argument
    add("--train-years", type=year_range, default="1979-1986", metavar="YEARS", help="to train on (%(default)s)")
    add("--validation-years", type=year_range, default="1987", metavar="YEARS", help="to evaluate on (%(default)s)")
    add("--describe", type=Path, metavar="FOLDER", help="write statistics and manifest of years in their place instead")
    add("--copy", action="store_true", help="copy the files instead of linking to them")
    return parser


cli.answer_early(__name__, options())

import msgspec
import numpy as np

from compliance.files import atomic_write
from ewa_fasterrcnn import channel_statistics, conversion
from ewa_fasterrcnn.channel_statistics import Moments
from ewa_fasterrcnn.year_files import YearFile, year_of
from harness import progress
from harness.data import manifest, preparation
from harness.data.manifest import Manifest
from harness.data.preparation import RECEIPTS_FOLDER, PrepareError


def prepare(raw: Path, out: Path, years: dict[str, list[int]], *, copy: bool, num_workers: int) -> Manifest:
    """Check every year and bring it to its split, then write statistics and the manifest, which comes last."""
    sources = _sources(raw, years)
    paths = {split: [f"{split}/{sources[year].name}" for year in years[split]] for split in years}
    if copy:
        preparation.check_space(out, sum(path.stat().st_size for path in sources.values()), "; or link")
    targets = {out / split / sources[year].name: sources[year] for split in years for year in years[split]}
    with preparation.begun(out, {"years": years, "copy": copy}):
        moments = _bring_all(out, targets, copy, num_workers)
        training = (moments[out / path] for path in paths["train"])
        channel_statistics.join(training).statistics().save(out / channel_statistics.FILE_NAME)
        described = _described(raw, out, years, paths, copied=copy)
        preparation.finish(out, described)
    return described


def _described(
    source: Path, out: Path, years: dict[str, list[int]], paths: dict[str, list[str]], **provenance: str | bool
) -> Manifest:
    provenance["source"] = str(source)
    provenance |= {f"{split}_years": ", ".join(map(str, years[split])) for split in years}
    with progress.counted("computing checksums", sum(map(len, paths.values()))) as advance:
        return conversion.data_set(out, paths, provenance=provenance, tool="ewa_fasterrcnn.prepare", advance=advance)


def bring(source: Path, target: Path, *, copy: bool) -> Moments:
    """Check one year, link or copy it, and take the moments of all its images."""
    moments = read_all(source)
    temporary = target.with_name(f".{target.name}")
    temporary.unlink(missing_ok=True)
    if copy:
        shutil.copyfile(source, temporary)
    else:
        temporary.symlink_to(source.resolve())
    temporary.replace(target)
    return moments


def read_all(path: Path) -> Moments:
    """The moments of all images of a year; YearError for the first box or value that cannot be."""
    with YearFile(path) as year:
        year.read_boxes()  # which checks each of them
        return channel_statistics.join(Moments.of(year.read(number)) for number in range(year.num_images))


def describe(folder: Path, *, num_workers: int) -> Manifest:
    """Write statistics and manifest of years that are in train/ and validation/ already; reads every image."""
    if (folder / manifest.FILE_NAME).exists():
        raise PrepareError(f"{folder / manifest.FILE_NAME}: found a manifest; --verify checks the data against it")
    years = {split: {year_of(path): path for path in _year_paths(folder / split)} for split in ("train", "validation")}
    _check_apart(years)
    tasks = {path: partial(read_all, path) for split in years.values() for path in split.values()}
    with progress.counted("reading years", len(tasks)) as advance:
        moments = {}
        for path, found in preparation.in_processes(tasks, num_workers):
            moments[path] = found
            advance()
    training = [moments[path] for path in years["train"].values()]
    channel_statistics.join(training).statistics().save(folder / channel_statistics.FILE_NAME)
    paths = {split: [f"{split}/{path.name}" for _, path in sorted(years[split].items())] for split in years}
    described = _described(Path("prepared elsewhere"), folder, {split: sorted(years[split]) for split in years}, paths)
    described.save(folder)
    return described


def _year_paths(folder: Path) -> list[Path]:
    """Year files of a folder; PrepareError if there is none."""
    paths = [path for ending in ("h5", "hdf5") for path in sorted(folder.glob(f"climo_*.{ending}"))]
    if not paths:
        raise PrepareError(f"{folder}: found no climo_YYYY.h5; expected at least one year")
    return paths


def _check_apart(years: Mapping[str, Container[int]]) -> None:
    if twice := sorted(set(years["train"]) & set(years["validation"])):
        raise PrepareError(f"years: found {twice[0]} to train and to evaluate on, expected each in one split only")


def _bring_all(out: Path, sources: dict[Path, Path], copy: bool, num_workers: int) -> dict[Path, Moments]:
    """The moments of each year by its path in the data set; those that an earlier call has finished are kept."""
    moments = {target: done for target in sources if (done := _receipt(out, target))}
    missing = {
        target: partial(bring, sources[target], target, copy=copy) for target in sources if target not in moments
    }
    with progress.counted("preparing years", len(sources), done=len(moments)) as advance:
        for target, found in preparation.in_processes(missing, num_workers):
            _write_receipt(out, target, found)
            moments[target] = found
            advance()
    return moments


def _sources(raw: Path, years: dict[str, list[int]]) -> dict[int, Path]:
    """The file of each year that was asked for."""
    if not raw.is_dir():
        raise PrepareError(f"{raw}: no such folder; expected one with climo_1979.h5 and further years")
    found = {year_of(path): path for path in _year_paths(raw)}
    _check_apart(years)
    for year in (*years["train"], *years["validation"]):
        if year not in found:
            there = ", ".join(map(str, sorted(found))) or "none"
            raise PrepareError(f"{raw}: found no climo_{year}.h5, only the years {there}")
    return {year: found[year] for split in years for year in years[split]}


def _receipt_path(out: Path, target: Path) -> Path:
    return out / RECEIPTS_FOLDER / f"{target.parent.name}_{target.stem}.json"


def _receipt(out: Path, target: Path) -> Moments | None:
    """Record that an earlier, interrupted call made of a year, if the year is still there."""
    path = _receipt_path(out, target)
    if not (path.exists() and target.exists()):
        return None
    record = msgspec.json.decode(path.read_bytes())
    arrays = {name: np.array(values) for name, values in record.items() if name != "num_images"}
    return Moments(num_images=record["num_images"], **arrays)


def _write_receipt(out: Path, target: Path, moments: Moments) -> None:
    arrays = {name: values.tolist() for name, values in vars(moments).items() if name != "num_images"}
    encoded = msgspec.json.encode({"num_images": moments.num_images, **arrays})
    atomic_write.write(_receipt_path(out, target), encoded)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = options()
    given = parser.parse_args(arguments)
    if not (given.verify or given.describe or given.out):
        parser.error("expected RAW and OUT, or --verify FOLDER, or --describe FOLDER")
    return cli.report("prepare", lambda: _run(given), resumes=True)


def _run(given: argparse.Namespace) -> str:
    if given.verify:
        folder, described = given.verify, manifest.verify_whole(given.verify)
    elif given.describe:
        folder, described = given.describe, describe(given.describe, num_workers=given.workers)
    else:
        years = {"train": given.train_years, "validation": given.validation_years}
        folder = given.out
        described = prepare(given.raw, folder, years, copy=given.copy, num_workers=given.workers)
    return f"{folder}: {'synthetic ' if described.synthetic else ''}weather: {conversion.in_words(described)}"


if __name__ == "__main__":
    sys.exit(main())
