# SPDX-License-Identifier: Apache-2.0
"""Small data sets of the benchmarks, made by their synthesize commands and read by their loaders.

for test in format_tests(folder, names=["cosmoflow"]): test.works["warm"].run()
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from characterize.measure import benchmarks
from characterize.measure.file_access import Transfer
from characterize.measure.io_tests import IoTest, Work
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import CharacterizeError


@dataclass(frozen=True, kw_only=True)
class Format:
    """Commands and functions that make and read a benchmark's small data set."""

    arguments: tuple[str, ...]
    """Arguments of the synthesize command after the folder."""
    reference_arguments: tuple[str, ...]
    """The same for a few samples of the reference's size."""
    batches: Callable[[Path], Iterable]
    """Batches of the folder's training samples, as the training loop reads them."""
    samples: str
    """Description of a sample for the table."""
    reference_samples: str
    """Description of a sample of the reference's size."""


def _batches(package: str, *, opening: dict | None = None, loading: dict | None = None) -> Callable[[Path], Iterable]:
    def read(folder: Path) -> Iterable:
        data, loader = (import_module(f"{package}.{name}") for name in ("data", "loader"))
        dataset = data.open_split(folder, "train", **(opening or {}))
        return loader.loader(dataset, batch_size=1, **(loading or {}))

    return read


FORMATS = {
    "cosmoflow": Format(
        arguments=("--train", "12", "--validation", "1", "--size", "64"),
        reference_arguments=("--train", "4", "--validation", "1", "--size", "128"),
        batches=_batches("cosmoflow"),
        samples="64^3 HDF5",
        reference_samples="128^3 HDF5",
    ),
    "deepcam": Format(
        arguments=("--train", "24", "--validation", "1"),
        reference_arguments=("--train", "4", "--validation", "1", "--height", "768", "--width", "1152"),
        batches=_batches("deepcam"),
        samples="96 x 144 HDF5",
        reference_samples="768 x 1152 HDF5",
    ),
    "imagenet_resnet": Format(
        arguments=("--train", "128", "--validation", "8", "--width", "500", "--height", "375"),
        reference_arguments=("--train", "256", "--validation", "8", "--width", "500", "--height", "375"),
        batches=_batches("imagenet_resnet", opening={"num_classes": 8}, loading={"side": 224}),
        samples="JPEG 500 x 375",
        reference_samples="JPEG 500 x 375",
    ),
    "ewa_fasterrcnn": Format(
        arguments=("--train", "24", "--validation", "1", "--train-years", "1"),
        reference_arguments=(
            *("--train", "4", "--validation", "1", "--train-years", "1"),
            *("--height", "768", "--width", "1152"),
        ),
        batches=_batches("ewa_fasterrcnn"),
        samples="96 x 144, one HDF5 file per year",
        reference_samples="768 x 1152, one HDF5 file per year",
    ),
}
"""Samples have the benchmarks' small sizes, the ones that `breakdown` trains on by default."""


def format_tests(work: Path, names: list[str] | None = None) -> Iterator[IoTest]:
    """One IoTest for each installed benchmark with a format."""
    for benchmark in benchmarks.named(names):
        if benchmark.name in FORMATS:
            yield prepared(benchmark.name, work / benchmark.name)


def prepared(name: str, folder: Path, *, reference_size: bool = False) -> IoTest:
    """Make the benchmark's small data set in `folder`; CharacterizeError if its synthesize command fails."""
    form = FORMATS[name]
    arguments = form.reference_arguments if reference_size else form.arguments
    command = [sys.executable, "-m", f"{name}.synthesize", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CharacterizeError(f"{name}.synthesize: {last}")
    paths = tuple(sorted(path for path in (folder / "train").rglob("*") if path.is_file()))
    num_bytes = sum(path.stat().st_size for path in paths)

    def read() -> Transfer:
        for _ in form.batches(folder):
            pass
        return Transfer(num_bytes=num_bytes)

    samples = form.reference_samples if reference_size else form.samples
    works = {"cold": Work(run=read), "warm": Work(run=read, is_cold=False)}
    return IoTest(name=f"{benchmark_title(name)}, {samples}", paths=paths, works=works)
