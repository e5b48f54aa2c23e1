# SPDX-License-Identifier: Apache-2.0
"""Storage measurements of one client: reads, writes and checkpoints of its own files, and the benchmarks' formats.

rows = measure(None, {"folder": "/scratch", "bytes": 64 << 20, "beyond_memory": 0, "repeats": 3, "benchmarks": None})

Several clients run it together through characterize.measure.ranks; each has a folder of its own.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from characterize.measure import sample_formats
from characterize.measure.file_access import (
    Transfer,
    fio,
    has_fio,
    read_blocks,
    read_direct,
    write_blocks,
    write_direct,
)
from characterize.measure.io_tests import Clients, IoTest, Work, time_all
from compliance.files import atomic_write
from harness.distributed.world import World
from harness.progress import tracked

MIB = 1 << 20
BLOCK_BYTES = 4 * MIB
RANDOM_BYTES = 64 << 10
SMALL_FILE_BYTES = 110_000
"""Mean size of an ImageNet image."""
DEPTHS = (1, 16)
"""Requests in flight of direct I/O."""


def measure(world: World | None, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of all tests. All clients call it; the rates are those of all clients together."""
    clients = Clients(world)
    work = Path(tempfile.mkdtemp(prefix=f"characterize_storage_{clients.rank}_", dir=settings["folder"]))
    try:
        tests = [*_plain_tests(work, settings), *sample_formats.format_tests(work, settings["benchmarks"])]
        shown = tracked(tests, "storage") if clients.rank == 0 else tests
        return [row for test in shown for row in time_all(test, settings["repeats"], clients)]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _plain_tests(work: Path, settings: dict[str, Any]) -> Iterator[IoTest]:
    """Sequential, random and small files, writes, a checkpoint, and a file larger than the memory."""
    num_blocks = max(1, settings["bytes"] // BLOCK_BYTES)
    block = os.urandom(BLOCK_BYTES)
    large = work / "large.bin"
    write_blocks(large, num_blocks, block)
    yield _sequential(large, num_blocks)
    yield _random(large, num_blocks)
    yield _small_files(work / "small", max(16, settings["bytes"] // 4 // SMALL_FILE_BYTES), block)
    yield _writing(work / "written.bin", num_blocks, block)
    yield _checkpoint(work / "checkpoint.pt", num_blocks)
    if settings["beyond_memory"]:
        yield _beyond_memory(work / "huge.bin", settings["beyond_memory"] // BLOCK_BYTES, block)


def _sequential(path: Path, num_blocks: int) -> IoTest:
    blocks = range(0, num_blocks * BLOCK_BYTES, BLOCK_BYTES)
    read = partial(read_blocks, path, blocks, BLOCK_BYTES)
    direct = {
        f"direct, depth {depth}": Work(run=partial(_direct_read, path, blocks, BLOCK_BYTES, depth)) for depth in DEPTHS
    }
    works = {"cold": Work(run=read), "warm": Work(run=read, is_cold=False), **direct}
    return IoTest(name="sequential read, 4 MiB blocks", paths=(path,), works=works)


def _random(path: Path, num_blocks: int) -> IoTest:
    scattered = range(0, num_blocks * BLOCK_BYTES, RANDOM_BYTES)
    offsets = random.Random(0).sample(scattered, k=len(scattered) // 4)
    read = partial(read_blocks, path, offsets, RANDOM_BYTES)
    direct = {
        f"direct, depth {depth}": Work(run=partial(_direct_read, path, offsets, RANDOM_BYTES, depth, "randread"))
        for depth in DEPTHS
    }
    works = {"cold": Work(run=read), "warm": Work(run=read, is_cold=False), **direct}
    return IoTest(name="random read, 64 KiB blocks", paths=(path,), works=works)


def _direct_read(path: Path, offsets, block_bytes: int, depth: int, pattern: str = "read") -> Transfer:
    if not has_fio():
        return read_direct(path, offsets, block_bytes, depth)
    moved = len(offsets) * block_bytes
    size = path.stat().st_size
    return fio(path, pattern=pattern, file_bytes=size, moved_bytes=moved, block_bytes=block_bytes, depth=depth)


def _small_files(folder: Path, count: int, block: bytes) -> IoTest:
    folder.mkdir()
    paths = tuple(folder / f"{number:05d}.bin" for number in range(count))
    for path in paths:
        path.write_bytes(block[:SMALL_FILE_BYTES])

    def read() -> Transfer:
        return Transfer(num_bytes=sum(len(path.read_bytes()) for path in paths))

    works = {"cold": Work(run=read), "warm": Work(run=read, is_cold=False)}
    return IoTest(name="read of small files, 110 kB each", paths=paths, works=works)


def _writing(path: Path, num_blocks: int, block: bytes) -> IoTest:
    offsets = range(0, num_blocks * BLOCK_BYTES, BLOCK_BYTES)
    direct = {f"direct, depth {depth}": Work(run=partial(_direct_write, path, offsets, depth)) for depth in DEPTHS}
    cached = {"with fsync": Work(run=partial(write_blocks, path, num_blocks, block), is_cold=False)}
    path.touch()
    return IoTest(name="sequential write, 4 MiB blocks", paths=(path,), works=cached | direct)


def _direct_write(path: Path, offsets, depth: int) -> Transfer:
    if not has_fio():
        return write_direct(path, offsets, BLOCK_BYTES, depth)
    moved = len(offsets) * BLOCK_BYTES
    return fio(path, pattern="write", file_bytes=moved, moved_bytes=moved, block_bytes=BLOCK_BYTES, depth=depth)


def _checkpoint(path: Path, num_blocks: int) -> IoTest:
    """Weights of one tensor per block, saved as training saves them, and restored."""
    state = {f"weight_{number}": torch.rand(BLOCK_BYTES // 4) for number in range(num_blocks)}

    def save() -> Transfer:
        with atomic_write.unfinished_file(path, durable=True) as part:
            torch.save(state, part)
        return Transfer(num_bytes=path.stat().st_size)

    def restore() -> Transfer:
        torch.load(path, weights_only=True)
        return Transfer(num_bytes=path.stat().st_size)

    save()
    works = {"with fsync": Work(run=save, is_cold=False), "restore, cold": Work(run=restore)}
    return IoTest(name="checkpoint", paths=(path,), works=works)


def _beyond_memory(path: Path, num_blocks: int, block: bytes) -> IoTest:
    """A file that no page cache holds: it is read once through, and then read again."""
    write_blocks(path, num_blocks, block)
    read = partial(read_blocks, path, range(0, num_blocks * BLOCK_BYTES, BLOCK_BYTES), BLOCK_BYTES)
    works = {"cold": Work(run=read, once=True), "read again": Work(run=read, is_cold=False, once=True)}
    return IoTest(name="sequential read of more than the memory", paths=(path,), works=works)
