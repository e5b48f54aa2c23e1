# SPDX-License-Identifier: Apache-2.0
"""Rates of a file system: reads, writes, checkpoints, and the benchmarks' formats through their own loaders.

    python -m characterize storage --folder /scratch/me --output output/characterize
    srun --ntasks-per-node 1 torchrun ... -m characterize storage --folder /scratch/me        # clients on several nodes

Cold: the files were dropped from this node's page cache (the servers of a parallel file system may still cache them).
Warm: read again immediately. Direct: past the page cache, with 1 and 16 requests in flight, by fio if it is installed.
Several clients read and write their own files at the same time; their rates are added.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
from matplotlib.figure import Figure

from characterize.measure import benchmarks, storage_tests
from characterize.measure.file_access import has_fio
from characterize.measure.ranks import on_ranks, started_by_torchrun
from characterize.measure.storage_tests import MIB
from characterize.pictures.storage import draw
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import Table, percent, quantity

REPEATS = {False: 3, True: 9}
BEYOND_MEMORY = 1.25
"""Size of the largest file relative to the memory, with --beyond-memory."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--folder", type=Path, metavar="DIR", help="folder on the file system (default: the temporary folder)")
    add("--size-mib", type=int, default=64, metavar="N", help="size of the large file; --full: 16 times (%(default)s)")
    add("--benchmark", action="append", metavar="NAME", help="measure this benchmark's format only; repeatable")
    add("--clients", type=int, default=1, metavar="N", help="local processes that read together (%(default)s)")
    add("--beyond-memory", action="store_true", help="add a file larger than the memory, which no cache holds")


def measure(options: argparse.Namespace) -> Result:
    folder = options.folder or Path(tempfile.gettempdir())
    clients = int(os.environ["WORLD_SIZE"]) if started_by_torchrun() else options.clients
    benchmarks.named(options.benchmark)
    plan = {
        "folder": str(folder),
        "bytes": options.size_mib * MIB * (16 if options.full else 1),
        "beyond_memory": int(BEYOND_MEMORY * psutil.virtual_memory().total) if options.beyond_memory else 0,
        "repeats": REPEATS[options.full],
        "benchmarks": options.benchmark,
    }
    _check(folder, plan, clients)
    if clients > 1 or started_by_torchrun():
        rows = on_ranks("characterize.measure.storage_tests:measure", plan, num_ranks=clients)
    else:
        rows = storage_tests.measure(None, plan)
    settings = {"bytes": plan["bytes"], "beyond_memory": plan["beyond_memory"], "clients": clients}
    settings |= {
        "full": options.full,
        "file_system": _file_system(folder),
        "direct_by": "fio" if has_fio() else "threads",
    }
    return Result(name="storage", verb="storage", settings=settings, data={"rows": rows})


def _check(folder: Path, plan: dict, clients: int) -> None:
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise CharacterizeError(f"--folder {folder}: not a writable folder; name one on the file system to measure")
    if plan["bytes"] < MIB:
        raise CharacterizeError(f"--size-mib: found {plan['bytes'] // MIB}, expected at least 1")
    if clients < 1:
        raise CharacterizeError(f"--clients: found {clients}, expected at least 1")
    needed = clients * (4 * plan["bytes"] + plan["beyond_memory"])
    free = shutil.disk_usage(folder).free
    if free < needed:
        space = f"found {free / MIB:.0f} MiB free, expected at least {needed / MIB:.0f}"
        raise CharacterizeError(f"--folder {folder}: {space}; use a smaller --size-mib")


def _file_system(folder: Path) -> str:
    """File system type of the folder, such as ext4 or lustre."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def tables(result: Result) -> Iterator[Table]:
    settings = result.settings
    clients = f", {settings['clients']} clients together" if settings["clients"] > 1 else ""
    yield Table(
        title=f"Storage, {settings['file_system']}{clients}",
        columns=("test", "state", "files", "rate", "spread", "per core-second"),
        rows=[_row(row) for row in result.data["rows"]],
        num_left=2,
        note=f"Direct I/O by {settings['direct_by']}. Rates count the bytes of the files; the time of the benchmarks' "
        "formats includes decoding.",
    )


def figures(result: Result) -> dict[str, Figure]:
    return {"storage": draw(result)}


def _row(row: dict) -> list[str]:
    head = [row["test"], row["state"], str(row["num_files"])]
    if "error" in row:
        return [*head, "not possible", "", row["error"]]
    core = quantity(row["bytes_per_core_second"], "B/s")
    return [*head, quantity(row["bytes_per_s"], "B/s"), percent(row["spread"]), core]
