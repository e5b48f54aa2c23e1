# SPDX-License-Identifier: Apache-2.0
"""Ranges of files, read and written from any thread; large ranges bypass the page cache.

    content = direct_io.read_range(path, offset, num_bytes)
    direct_io.write_range(path, offset, content)

Data that is read or written once gains nothing from the page cache, which would cost a copy and take memory from other
uses. The source's pages are therefore dropped once they are read, and large ranges are written directly to the disk.
"""

import errno
import mmap
import os
from pathlib import Path

from compliance.files import regular_file

LARGE_BYTES = 1 << 20
"""Size from which a range bypasses the page cache."""


def memory(num_bytes: int) -> mmap.mmap:
    """Memory that begins on a page boundary, as direct writing requires."""
    return mmap.mmap(-1, num_bytes)


def read_range(path: Path, offset: int, num_bytes: int) -> memoryview:
    """The bytes of the range; fewer if the file ends before its end. OSError, for links and pipes too."""
    descriptor = regular_file.opener(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        is_large, num_read = num_bytes >= LARGE_BYTES, 0
        content = memoryview(memory(num_bytes) if is_large else bytearray(num_bytes))
        while more := os.preadv(descriptor, [content[num_read:]], offset + num_read):
            num_read += more
        if is_large:
            _give_up_pages(descriptor, offset, num_bytes)
        return content[:num_read]
    finally:
        os.close(descriptor)


def write_range(path: Path | str, offset: int, content: memoryview) -> None:
    """Write `content` at `offset`; the file is created if it does not exist. Raises OSError."""
    num_written = _write_directly(path, offset, content) if len(content) >= LARGE_BYTES else 0
    if num_written < len(content) or not content:
        _write(path, offset + num_written, content[num_written:], 0)


def _write_directly(path: Path | str, offset: int, content: memoryview) -> int:
    """Bytes written directly: whole pages, or 0 if the file system or the memory's alignment does not allow it."""
    num_bytes = len(content) // mmap.PAGESIZE * mmap.PAGESIZE
    try:
        _write(path, offset, content[:num_bytes], getattr(os, "O_DIRECT", 0))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return 0
    return num_bytes


def _write(path: Path | str, offset: int, content: memoryview, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    try:
        num_written = 0
        while num_written < len(content):
            num_written += os.pwrite(descriptor, content[num_written:], offset + num_written)
        if len(content) >= LARGE_BYTES:
            _give_up_pages(descriptor, offset, len(content))  # the kernel begins to write dirty ones
    finally:
        os.close(descriptor)


def _give_up_pages(descriptor: int, offset: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, num_bytes, os.POSIX_FADV_DONTNEED)
