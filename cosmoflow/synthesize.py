# SPDX-License-Identifier: Apache-2.0
"""Simulate small universes that a network can really learn from, in the layout of the original data.

A data set ready for training, one file a universe, with its manifest (marked synthetic):

    python -m cosmoflow.synthesize data                                       # the demo's: 256 + 256 universes
    python -m cosmoflow.synthesize data --train 1024 --validation 256 --size 64

Universes as they would be downloaded, for prepare.py to crop, split and convert:

    python -m cosmoflow.synthesize raw --universes 16 --size 64

The same seed gives the same universes whatever the number of processes. `--preview FILE.png` draws the first one.
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
    parser = cli.synthesis_parser("cosmoflow.synthesize", __doc__, train=256, validation=256)
    add = parser.add_argument
    add("--universes", type=cli.positive, metavar="N", help="write N universes without a split instead")
    add("--size", type=cli.positive, default=32, metavar="N", help="voxels along each edge (%(default)s)")
    add("--cell", type=float, default=8.0, metavar="MPC", help="edge of a voxel in Mpc/h (%(default)s)")
    return parser


cli.answer_early(__name__, options())

import numpy as np

from compliance.files.errors import UserError
from cosmoflow import universe_file
from cosmoflow.synthetic import cosmology
from cosmoflow.synthetic.cosmology import Cosmology
from cosmoflow.universe_file import PARAMETER_NAMES, Universe
from harness.data import manifest, preparation
from harness.data.manifest import Array, DataFile, Manifest, Split

LOWEST = Cosmology(omega_m=0.1, sigma_8=0.4, n_s=0.85, h_0=55.0)
HIGHEST = Cosmology(omega_m=0.5, sigma_8=1.2, n_s=1.10, h_0=85.0)
"""Parameters are drawn evenly between these. Omega_M and sigma_8 spread wider than in the original data, because 32^3
voxels and a thousand samples must show in seconds what 128^3 voxels and half a million show in hours."""

STREAMS = {"train": 1, "validation": 2, "universes": 3}
"""Each split draws from its own random streams, so that its universes do not depend on how many the others have."""


class SynthesizeError(UserError):
    """Options that no universe can be made from."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Settings that all universes of a data set share."""

    size: int = 32
    """Voxels along each edge."""
    cell: float = 8.0
    """Edge of a voxel in Mpc/h. At 8, sigma_8 and Omega_M show most directly in the particle counts' averages."""
    seed: int = 1
    """Chooses all parameters and all initial conditions."""

    def __post_init__(self):
        if self.size < 2 or self.cell <= 0 or self.seed < 0:
            found = f"size {self.size}, cell {self.cell}, seed {self.seed}"
            raise SynthesizeError(f"simulation: found {found}, expected size >= 2, cell > 0 and seed >= 0")


def simulate(simulation: Simulation, split: str, number: int) -> Universe:
    """Universe `number` of a split: its own random stream gives its parameters, then its initial conditions."""
    rng = np.random.default_rng([simulation.seed, STREAMS[split], number])
    targets = rng.uniform(-1, 1, size=len(PARAMETER_NAMES))
    values = physical_parameters(targets)
    full = cosmology.universe(Cosmology(**values), size=simulation.size, cell=simulation.cell, rng=rng)
    return Universe(
        full=full,
        unit_parameters=targets,
        physical_parameters=np.array(list(values.values())),
        names=np.array(PARAMETER_NAMES),
        redshifts=np.array(cosmology.REDSHIFTS),
        synthetic=True,
    )


def physical_parameters(targets: np.ndarray) -> dict[str, float]:
    """Parameters by their name in Cosmology, of targets in [-1, 1]."""
    lowest, highest = asdict(LOWEST), asdict(HIGHEST)
    shares = dict(zip(lowest, (targets + 1) / 2, strict=True))
    return {name: float(low + shares[name] * (highest[name] - low)) for name, low in lowest.items()}


def synthesize(folder: Path, simulation: Simulation, num_universes: dict[str, int], *, num_processes: int) -> Manifest:
    """Write a new data set of the universes of every split; a finished data set of the same options is kept."""
    provenance = _provenance(simulation)
    if kept := preparation.finished(folder, provenance, num_universes):
        return kept
    with preparation.new_folder(folder) as new:
        for split in num_universes:
            _split_folder(new, split).mkdir(exist_ok=True)
        write = partial(_write, new, simulation)
        files = preparation.made(write, num_universes, "simulating", num_processes=num_processes, chunksize=8)
        complete = _described(simulation.size, provenance, files)
        complete.save(new)
    return complete


def _write(folder: Path, simulation: Simulation, split: str, number: int) -> DataFile:
    """Simulate and write one universe; returns its line of the manifest."""
    path = _split_folder(folder, split) / f"univ_ics_2019-03_a{STREAMS[split]}{number:07d}.hdf5"
    temporary = path.with_name(f".{path.name}")
    universe_file.write(temporary, simulate(simulation, split, number))
    temporary.replace(path)
    return manifest.describe(folder, path)


def _split_folder(folder: Path, split: str) -> Path:
    return folder if split == "universes" else folder / split


def _provenance(simulation: Simulation) -> dict[str, str | int | float]:
    ranges = zip(asdict(LOWEST).items(), asdict(HIGHEST).values(), strict=True)
    return {
        "source": "simulated in the Zel'dovich approximation",
        **asdict(simulation),
        **{name: f"{low} to {high}" for (name, low), high in ranges},
    }


def _described(size: int, provenance: dict[str, str | int | float], files: dict[str, list[DataFile]]) -> Manifest:
    return Manifest(
        benchmark="cosmoflow",
        synthetic=True,
        format="hdf5",
        arrays={
            "full": Array(dtype="int16", shape=(size, size, size, len(cosmology.REDSHIFTS))),
            "unitPar": Array(dtype="float32", shape=(len(PARAMETER_NAMES),)),
        },
        splits={split: Split(num_samples=len(written), files=tuple(written)) for split, written in files.items()},
        provenance=provenance,
        tool="cosmoflow.synthesize",
        tool_version=manifest.tool_version(),
    )


def draw_preview(path: Path, drawn: Universe) -> None:
    """A picture of one universe: the particles of a slice of a few voxels, at each redshift, oldest first."""
    import matplotlib.pyplot as plt

    thickness = max(1, len(drawn.full) // 16)
    slices = np.log1p(drawn.full[:thickness].mean(axis=0))
    figure, all_axes = plt.subplots(1, slices.shape[-1], figsize=(13, 3.6), layout="constrained")
    for axes, channel in zip(all_axes, np.argsort(-drawn.redshifts), strict=True):
        axes.imshow(slices[..., channel], vmin=0, vmax=slices.max(), cmap="magma")
        axes.set_title(f"redshift {drawn.redshifts[channel]:g}")
        axes.set_axis_off()
    names = (name.decode() for name in drawn.names)
    values = ", ".join(f"{name} {value:.3g}" for name, value in zip(names, drawn.physical_parameters, strict=True))
    figure.suptitle(f"Synthetic universe: {values}")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    given = options().parse_args(arguments)
    return cli.report("synthesize", lambda: _run(given))


def _run(given: argparse.Namespace) -> str:
    splits = {"train": given.train, "validation": given.validation}
    num_universes = {"universes": given.universes} if given.universes else splits
    simulation = Simulation(size=given.size, cell=given.cell, seed=given.seed)
    described = synthesize(given.folder, simulation, num_universes, num_processes=given.workers)
    if given.preview:
        draw_preview(given.preview, simulate(simulation, next(iter(num_universes)), 0))
    counts = ", ".join(f"{split.num_samples} {name}" for name, split in described.splits.items())
    return f"{given.folder}: synthetic universes of {given.size}^3 voxels: {counts}"


if __name__ == "__main__":
    sys.exit(main())
