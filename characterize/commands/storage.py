# SPDX-License-Identifier: Apache-2.0
"""Read rates of a folder: sequential, random, many small files, and the benchmarks' formats through their loaders.

    python -m characterize storage --folder /scratch/me --output output/characterize

Cold: the files were dropped from this node's page cache (the servers of a parallel file system may still cache them).
Warm: read again immediately. Direct: read with O_DIRECT if the file system supports it.
"""

import argparse
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
from matplotlib.figure import Figure

from characterize.measure import sample_formats
from characterize.measure.file_reads import ReadTest, read_blocks, read_direct, time_all
from characterize.pictures.storage import draw
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import Table, percent, quantity, three_digits
from harness.progress import tracked

MIB = 1 << 20
BLOCK_BYTES = 4 * MIB
RANDOM_BYTES = 64 << 10
SMALL_FILE_BYTES = 110_000
"""Mean size of an ImageNet image."""
REPEATS = {False: 3, True: 9}


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--folder",
        type=Path,
        metavar="DIR",
        help="folder on the file system to measure (default: the temporary folder)",
    )
    add(
        "--size-mib",
        type=int,
        default=64,
        metavar="N",
        help="size of the large file; --full: 16 times that (%(default)s)",
    )
    add("--benchmark", action="append", metavar="NAME", help="measure this benchmark's format only; repeatable")


def measure(options: argparse.Namespace) -> Result:
    num_bytes = options.size_mib * MIB * (16 if options.full else 1)
    folder = options.folder or Path(tempfile.gettempdir())
    _check(folder, num_bytes)
    work = Path(tempfile.mkdtemp(prefix="characterize_storage_", dir=folder))
    try:
        reads = [*_plain_reads(work, num_bytes), *sample_formats.reads(work, options.benchmark)]
        rows = [row for read in tracked(reads, "storage") for row in time_all(read, REPEATS[options.full])]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    settings = {"bytes": num_bytes, "full": options.full, "file_system": _file_system(folder)}
    return Result(name="storage", verb="storage", settings=settings, data={"rows": rows})


def _check(folder: Path, num_bytes: int) -> None:
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise CharacterizeError(f"--folder {folder}: not a writable folder; name one on the file system to measure")
    if num_bytes < MIB:
        raise CharacterizeError(f"--size-mib: found {num_bytes // MIB}, expected at least 1")
    free = shutil.disk_usage(folder).free
    if free < 3 * num_bytes:
        space = f"found {free / MIB:.0f} MiB free, expected at least {3 * num_bytes / MIB:.0f}"
        raise CharacterizeError(f"--folder {folder}: {space}; use a smaller --size-mib")


def _plain_reads(work: Path, num_bytes: int) -> list[ReadTest]:
    large = work / "large.bin"
    block = os.urandom(BLOCK_BYTES)
    with large.open("wb") as file:
        for _ in range(max(1, num_bytes // BLOCK_BYTES)):
            file.write(block)
        os.fsync(file.fileno())
    small = [work / "small" / f"{number:05d}.bin" for number in range(max(16, num_bytes // 4 // SMALL_FILE_BYTES))]
    small[0].parent.mkdir()
    for path in small:
        path.write_bytes(block[:SMALL_FILE_BYTES])
    blocks = range(0, large.stat().st_size, BLOCK_BYTES)
    scattered = range(0, large.stat().st_size, RANDOM_BYTES)
    offsets = random.Random(0).sample(scattered, k=len(scattered) // 4)
    return [
        ReadTest(
            name="sequential, 4 MiB blocks",
            paths=(large,),
            read=lambda: read_blocks(large, blocks, BLOCK_BYTES),
            direct=lambda: read_direct(large, blocks, BLOCK_BYTES),
        ),
        ReadTest(
            name="random, 64 KiB blocks",
            paths=(large,),
            read=lambda: read_blocks(large, offsets, RANDOM_BYTES),
            direct=lambda: read_direct(large, offsets, RANDOM_BYTES),
        ),
        ReadTest(
            name="small files, 110 kB each",
            paths=tuple(small),
            read=lambda: sum(len(path.read_bytes()) for path in small),
        ),
    ]


def _file_system(folder: Path) -> str:
    """File system type of the folder, such as ext4 or lustre."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def tables(result: Result) -> Iterator[Table]:
    yield Table(
        title=f"Storage, {result.settings['file_system']}",
        columns=("read", "cache", "files", "rate", "spread", "rate per core-second"),
        rows=[_row(row) for row in result.data["rows"]],
        num_left=2,
        note="Rates count the bytes of the files; for the benchmarks' formats the time includes decoding.",
    )


def figures(result: Result) -> dict[str, Figure]:
    return {"storage": draw(result)}


def _row(row: dict) -> list[str]:
    head = [row["read"], row["state"], three_digits(row["num_files"]).removesuffix(".00").removesuffix(".0")]
    if "error" in row:
        return [*head, "not offered", "", row["error"]]
    core = quantity(row["bytes_per_core_second"], "B/s")
    return [*head, quantity(row["bytes_per_s"], "B/s"), percent(row["spread"]), core]
