# SPDX-License-Identifier: Apache-2.0
"""Make up climates with cyclones and rivers that a network can really learn to find, in the layout of the real data.

    python -m deepcam.synthesize data                                       # the demo's: 96 + 24 samples of 64 x 96
    python -m deepcam.synthesize data --train 64 --validation 16 --height 768 --width 1152
    python -m deepcam.synthesize data --preview preview.png

Writes train/, validation/, stats.h5 and a manifest, marked synthetic, and says how the pixels divide into classes. The
same seed gives the same samples whatever the number of processes.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from compliance.command_line import Parser
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = cli.synthesis_parser("deepcam.synthesize", __doc__, train=96, validation=24)
    parser.add_argument(
        "--height", type=cli.positive, default=64, metavar="N", help="pixels from pole to pole (%(default)s)"
    )
    parser.add_argument(
        "--width", type=cli.positive, default=96, metavar="N", help="pixels around the globe (%(default)s)"
    )
    return parser


cli.answer_early(__name__, options())

import numpy as np

from compliance.files.errors import UserError
from deepcam import sample_files
from deepcam.channel_statistics import SPLIT as STATISTICS_SPLIT
from deepcam.conversion import WrittenSample, describe_sample, finish, summary
from deepcam.model import InputSizeError, check_input_size
from deepcam.sample_files import CHANNELS, FORMATS, Sample
from deepcam.synthetic import climate, labelling, storms
from harness.data import preparation
from harness.data.manifest import Manifest

STREAMS = {"train": 1, "validation": 2}
"""Each split draws from its own random streams, so that its samples do not depend on how many the others have."""
FORM = FORMATS["hdf5"]
PREVIEWED = 4
FIRST_DAY = datetime(2000, 1, 1)


class SynthesizeError(UserError):
    """Options that no sample can be made from."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Settings that all samples of a data set share."""

    height: int = 96
    """Pixels from pole to pole, a multiple of 16."""
    width: int = 144
    """Pixels around the globe, a multiple of 16."""
    seed: int = 1
    """Chooses the geography, all weather and all storms."""

    def __post_init__(self) -> None:
        try:
            check_input_size(self.height, self.width)
        except InputSizeError as error:
            raise SynthesizeError(str(error)) from None
        if min(self.height, self.width) < 48 or self.seed < 0:
            found = f"found {self.height} x {self.width} pixels and seed {self.seed}"
            raise SynthesizeError(f"{found}, expected at least 48 x 48 and a seed of at least 0")


def make_sample(world: World, split: str, number: int) -> Sample:
    """Sample `number` of a split: its own random stream draws the weather, then the storms; labels come last."""
    grid = climate.Grid(world.height, world.width)
    generator = np.random.default_rng([world.seed, STREAMS[split], number])
    fields = climate.background(grid, generator, climate.elevation_km(grid, world.seed))
    storms.add_weather(grid, fields, generator)
    fields_HWC = np.stack([fields[name] for name in CHANNELS], axis=-1).astype(np.float32)
    return fields_HWC, labelling.labels(grid, fields)


def synthesize(folder: Path, world: World, num_samples: dict[str, int], *, num_processes: int) -> Manifest:
    """Write a new data set: samples, stats.h5 and manifest; a finished data set of the same options is kept."""
    if (kept := preparation.finished(folder, asdict(world), num_samples)) and STATISTICS_SPLIT in kept.splits:
        return kept
    with preparation.new_folder(folder) as new:
        for split in num_samples:
            (new / split).mkdir()
        write = partial(_write, new, world)
        written = preparation.made(write, num_samples, "making up climates", num_processes=num_processes, chunksize=4)
        provenance = {"source": "synthetic climates, labelled by heuristics", **asdict(world)}
        return finish(new, written, FORM, synthetic=True, provenance=provenance, tool="deepcam.synthesize")


def _write(folder: Path, world: World, split: str, number: int) -> WrittenSample:
    """Make and write one sample."""
    day = FIRST_DAY + timedelta(hours=6 * number)
    identifier = f"{day:%Y-%m-%d-%H}-{STREAMS[split]}"
    sample_files.write(FORM, folder / split, identifier, *make_sample(world, split, number))
    return describe_sample(folder, split, FORM, identifier)


def draw_preview(path: Path, world: World) -> None:
    """A picture of the first training samples with their masks."""
    from deepcam.synthetic import preview  # matplotlib is slow to import, and only needed here

    drawn = (make_sample(world, "train", number) for number in range(PREVIEWED))
    preview.draw(path, drawn, f"Synthetic climates of {world.height} x {world.width} pixels, seed {world.seed}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    given = options().parse_args(arguments)
    return cli.report("synthesize", lambda: _run(given))


def _run(given: argparse.Namespace) -> str:
    num_samples = {"train": given.train, "validation": given.validation}
    world = World(height=given.height, width=given.width, seed=given.seed)
    described = synthesize(given.folder, world, num_samples, num_processes=given.workers)
    if given.preview:
        draw_preview(given.preview, world)
    return f"{given.folder}: synthetic climates of {world.height} x {world.width} pixels\n{summary(described)}"


if __name__ == "__main__":
    sys.exit(main())
