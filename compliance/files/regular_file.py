# SPDX-License-Identifier: Apache-2.0
"""Reads small files that others have written: regular files only, never more than a stated number of bytes."""

import errno
import os
import stat
from pathlib import Path

from compliance.files.errors import UserError


def read(path: Path, max_bytes: int, *, follow: bool = True) -> bytes:
    """The content of a file. UserError for a larger file, and for devices and pipes, which could block for ever.

    `follow`: False refuses links.
    """
    try:
        with open(path, "rb", opener=opener if follow else _link_refusing_opener) as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > max_bytes:
        raise UserError(f"{path}: cannot be read: larger than {_size(max_bytes)}")
    return content


def opener(path: str | os.PathLike[str], flags: int) -> int:
    """Open a regular file for the built-in open(); OSError at once for devices and pipes, which could block.

    With O_NOFOLLOW in `flags`, links are refused too.
    """
    if flags & getattr(os, "O_NOFOLLOW", 0) and Path(path).is_symlink():
        raise OSError(errno.ELOOP, "it is a link", os.fspath(path))
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
    return descriptor


def _link_refusing_opener(path: str, flags: int) -> int:
    if Path(path).is_symlink():  # systems without O_NOFOLLOW open the link's target
        raise OSError(errno.ELOOP, "it is a link", path)
    return opener(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _size(num_bytes: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {unit}"
    return f"{num_bytes} bytes"


def size(path: Path) -> int:
    """Size of a file in bytes; 0 if it cannot be found out."""
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def is_regular(path: Path) -> bool:
    """True for a regular file that is not behind a link, and False if that cannot be found out."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """True for a folder that is not behind a link, and False if that cannot be found out."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
