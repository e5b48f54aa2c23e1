# SPDX-License-Identifier: Apache-2.0
"""Locks that keep two processes from writing the same output.

    with lock.held(Path("acme")): ...      # UserError in one line if another process holds the lock of "acme"

The lock is flock(2) on a hidden file beside the output, which holds the host and process id of its holder. The kernel
releases it when the holder ends, however it ends, so that no lock is ever stale. Between nodes this relies on the file
system: Lustre needs the mount option `flock` (with `localflock` a lock holds on its own node only), NFS maps flock to
its lock manager. On a file system without locks, a warning is printed and the work goes on unprotected.
"""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compliance.files.atomic_write import NUM_NAME_CHARACTERS
from compliance.files.errors import UserError

UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of flock on file systems without locks."""


class LockError(UserError):
    """An output that another process is writing."""


@contextmanager
def held(output: Path) -> Iterator[None]:
    """Hold the lock of a file or folder during the block. LockError if another process holds it."""
    descriptor = acquire(output)
    try:
        yield
    finally:
        release(output, descriptor)


def acquire(output: Path) -> int:
    """Take the lock of a file or folder; returns the descriptor that holds it. UserError if it cannot be had."""
    path = _path(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(path)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    except BlockingIOError:
        raise LockError(f"{output}: in use by {_holder(path)}; wait until it ends, or choose another output") from None
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}; choose another output") from None
    return descriptor


def release(output: Path, descriptor: int) -> None:
    """Give the lock back and remove its file; a process that opened the file before finds out and opens a new one."""
    with suppress(OSError):
        _path(output).unlink()
    os.close(descriptor)


def _path(output: Path) -> Path:
    absolute = output.absolute()
    return absolute.with_name(f".{absolute.name[:NUM_NAME_CHARACTERS]}.lock")


def _open_locked(path: Path) -> int:
    """Open and lock the file that is at `path` once the lock is held; BlockingIOError if another process holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _flock(descriptor, path)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:  # released by its holder in between
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _flock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        print(f"{path.parent}: this file system has no locks; start nothing else on this output", file=sys.stderr)


def _holder(path: Path) -> str:
    with suppress(OSError):
        if text := path.read_text(errors="replace")[:200].strip():
            return text
    return "another process"
