# SPDX-License-Identifier: Apache-2.0
"""Make up years of weather that a network can really learn from, in the layout of the published year files.

    python -m ewa_fasterrcnn.synthesize output/ewa/data                       # the demo's: 256 + 48 images of 96 x 144
    python -m ewa_fasterrcnn.synthesize output/ewa/data --preview storms.png

The data set is ready for training: train/ and validation/ with whole years, statistics and a manifest that marks it
synthetic. The same seed gives the same images whatever the number of processes.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from compliance.command_line import Parser
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = cli.synthesis_parser("ewa_fasterrcnn.synthesize", __doc__, train=256, validation=48)
    add = parser.add_argument
    add("--train-years", type=cli.positive, default=2, metavar="N", help="year files to train on (%(default)s)")
    add("--height", type=cli.positive, default=96, metavar="N", help="pixels from pole to pole (%(default)s)")
    add("--width", type=cli.positive, default=144, metavar="N", help="pixels around the globe (%(default)s)")
    return parser


cli.answer_early(__name__, options())

import h5py
import numpy as np

from compliance.files.errors import UserError
from ewa_fasterrcnn import channel_statistics, conversion
from ewa_fasterrcnn.channel_statistics import Moments
from ewa_fasterrcnn.synthetic.weather import make_image
from ewa_fasterrcnn.year_files import CHANNELS, MOST_BOXES, SYNTHETIC
from harness import children, progress
from harness.data import preparation
from harness.data.manifest import Manifest

FIRST_YEAR = 1979
PREVIEWED = 4


class SynthesizeError(UserError):
    """Options that no weather can be made from."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Settings that all images of a data set share."""

    height: int = 96
    """Pixels from pole to pole."""
    width: int = 144
    """Pixels around the globe."""
    seed: int = 1
    """Chooses all weather and all storms."""

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 64 or self.seed < 0:
            found = f"height {self.height}, width {self.width}, seed {self.seed}"
            raise SynthesizeError(
                f"world: found {found}, expected at least 64 pixels each way and a seed of at least 0"
            )


@dataclass(frozen=True, kw_only=True)
class Year:
    """One year file that is to be written."""

    number: int
    split: str
    num_images: int

    @property
    def path(self) -> str:
        """Relative to the data set."""
        return f"{self.split}/climo_{self.number}.h5"


def plan(num_train: int, num_validation: int, num_train_years: int) -> list[Year]:
    """The training images over several years as evenly as it goes, then one year to evaluate on."""
    if not (num_validation >= 1 and 1 <= num_train_years <= num_train):
        found = f"found {num_train} over {num_train_years} years, {num_validation} to evaluate on"
        raise SynthesizeError(f"images: {found}, expected at least one image in each year")
    sizes = [len(part) for part in np.array_split(np.arange(num_train), num_train_years)]
    years = [Year(number=number, split="train", num_images=size) for number, size in enumerate(sizes, start=FIRST_YEAR)]
    return [*years, Year(number=FIRST_YEAR + num_train_years, split="validation", num_images=num_validation)]


def synthesize(folder: Path, world: World, years: list[Year], *, num_processes: int) -> Manifest:
    """Write a new data set: years, statistics and manifest; a finished data set of the same options is kept."""
    paths = {split: [year.path for year in years if year.split == split] for split in ("train", "validation")}
    counts = {split: sum(year.num_images for year in years if year.split == split) for split in paths}
    kept = preparation.finished(folder, asdict(world), counts)
    if kept and all([file.path for file in kept.split(split).files] == paths[split] for split in paths):
        return kept
    with preparation.new_folder(folder) as new:
        return _make(new, world, years, paths, num_processes)


def _make(folder: Path, world: World, years: list[Year], paths: dict[str, list[str]], num_processes: int) -> Manifest:
    for split in paths:
        (folder / split).mkdir()
    with children.pool(num_processes) as pool:
        written = pool.map(partial(_write_year, folder, world), years)
        moments = list(progress.tracked(written, "making up years", total=len(years)))
    training = (one for one, year in zip(moments, years, strict=True) if year.split == "train")
    channel_statistics.join(training).statistics().save(folder / channel_statistics.FILE_NAME)
    described = conversion.data_set(
        folder,
        paths,
        provenance={"source": "made up by a random generator", **asdict(world)},
        tool="ewa_fasterrcnn.synthesize",
    )
    described.save(folder)
    return described


def _write_year(folder: Path, world: World, year: Year) -> Moments:
    """Write one year file at once or not at all; the moments of its images."""
    path = folder / year.path
    temporary, moments = path.with_name(f".{path.name}"), []
    with h5py.File(temporary, "w") as file:
        file.attrs[SYNTHETIC] = True
        shape = (year.num_images, len(CHANNELS), world.height, world.width)
        images = file.create_dataset("images", shape, dtype=np.float32)
        boxes = file.create_dataset("boxes", (year.num_images, MOST_BOXES, 5), dtype=np.float32)
        for number in range(year.num_images):
            images[number], boxes[number] = image_CHW, _ = image_of(world, year.number, number)
            moments.append(Moments.of(image_CHW))
    temporary.replace(path)
    return channel_statistics.join(moments)


def image_of(world: World, year: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Fields and boxes of one image, from its own random stream."""
    return make_image(np.random.default_rng([world.seed, year, number]), world.height, world.width)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    given = options().parse_args(arguments)
    return cli.report("synthesize", lambda: _run(given))


def _run(given: argparse.Namespace) -> str:
    world = World(height=given.height, width=given.width, seed=given.seed)
    years = plan(given.train, given.validation, given.train_years)
    described = synthesize(given.folder, world, years, num_processes=given.workers)
    if given.preview:
        from ewa_fasterrcnn import preview  # matplotlib is slow to import, and only needed here

        samples = [(*image_of(world, FIRST_YEAR, number), None) for number in range(PREVIEWED)]
        preview.draw(given.preview, samples, f"Synthetic weather of {world.height} x {world.width} pixels")
    return f"{given.folder}: synthetic weather: {conversion.in_words(described)}"


if __name__ == "__main__":
    sys.exit(main())
