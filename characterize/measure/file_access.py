# SPDX-License-Identifier: Apache-2.0
"""Ways to read and write files that storage measurements time: through the page cache, with direct I/O, and with fio.

Direct I/O keeps `depth` requests in flight, because a device reaches its rate only with several. fio does that if it is
installed; otherwise threads do, whose requests run at the same time because system calls release Python's lock.
"""

import json
import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FIO_TIMEOUT_S = 600


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Bytes that were read or written."""

    num_bytes: int
    seconds: float | None = None
    """Time as the tool states it; None: the caller measures it."""


def drop_from_cache(path: Path) -> None:
    """Drop the file's pages from this node's cache; fsync first, because dirty pages stay."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def read_blocks(path: Path, offsets: Iterable[int], num_bytes: int) -> Transfer:
    """Read blocks through the page cache."""
    with path.open("rb", buffering=0) as file:
        return Transfer(num_bytes=sum(len(os.pread(file.fileno(), num_bytes, offset)) for offset in offsets))


def write_blocks(path: Path, num_blocks: int, block: bytes) -> Transfer:
    """Write a file through the page cache; it is on the device at the end."""
    with path.open("wb", buffering=0) as file:
        written = sum(file.write(block) for _ in range(num_blocks))
        os.fsync(file.fileno())
    return Transfer(num_bytes=written)


def read_direct(path: Path, offsets: Sequence[int], num_bytes: int, depth: int = 1) -> Transfer:
    """Read blocks with O_DIRECT and `depth` threads. Raises OSError if the file system does not support it."""

    def read(mine: Sequence[int], aligned: mmap.mmap) -> int:
        with _direct(path, os.O_RDONLY) as descriptor:
            return sum(os.preadv(descriptor, [aligned], offset) for offset in mine)

    return _at_once(read, offsets, num_bytes, depth)


def write_direct(path: Path, offsets: Sequence[int], num_bytes: int, depth: int = 1) -> Transfer:
    """Write blocks with O_DIRECT and `depth` threads; the file is on the device at the end."""

    def write(mine: Sequence[int], aligned: mmap.mmap) -> int:
        with _direct(path, os.O_WRONLY | os.O_CREAT) as descriptor:
            written = sum(os.pwritev(descriptor, [aligned], offset) for offset in mine)
            os.fsync(descriptor)
        return written

    return _at_once(write, offsets, num_bytes, depth)


@contextmanager
def _direct(path: Path, flags: int):
    descriptor = os.open(path, flags | os.O_DIRECT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _at_once(
    work: Callable[[Sequence[int], mmap.mmap], int], offsets: Sequence[int], num_bytes: int, depth: int
) -> Transfer:
    """Split the offsets among `depth` threads, each with a buffer. The time starts when the buffers are in memory."""
    shares = [offsets[start::depth] for start in range(min(depth, len(offsets)))]
    buffers = [_buffer(num_bytes) for _ in shares]
    start = time.perf_counter()
    with ThreadPoolExecutor(depth) as threads:
        moved = sum(threads.map(work, shares, buffers))
    return Transfer(num_bytes=moved, seconds=time.perf_counter() - start)


def _buffer(num_bytes: int) -> mmap.mmap:
    """Memory that starts at a page, as direct I/O needs it, with all pages present."""
    aligned = mmap.mmap(-1, num_bytes)
    aligned.write(os.urandom(num_bytes))
    return aligned


def has_fio() -> bool:
    return shutil.which("fio") is not None


def fio(path: Path, *, pattern: str, file_bytes: int, moved_bytes: int, block_bytes: int, depth: int) -> Transfer:
    """Let fio read or write (`pattern`: read, randread, write) with direct I/O. OSError if it cannot."""
    command = ["fio", "--name=characterize", f"--filename={path}", f"--rw={pattern}", f"--bs={block_bytes}"]
    command += [f"--size={file_bytes}", f"--io_size={moved_bytes}", f"--iodepth={depth}", "--ioengine=libaio"]
    command += ["--direct=1", "--randrepeat=1", "--end_fsync=1", "--output-format=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FIO_TIMEOUT_S)
    try:
        job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
        counts = job["write" if pattern == "write" else "read"]
        return Transfer(num_bytes=counts["io_bytes"], seconds=counts["io_bytes"] / counts["bw_bytes"])
    except (ValueError, LookupError, ZeroDivisionError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise OSError(0, f"fio: {last}") from None
