# SPDX-License-Identifier: Apache-2.0
"""Drops the cached pages of the data set on a node, as the rules ask before a run, so that all data is read again."""

import os
from contextlib import suppress
from pathlib import Path

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def drop_caches(folder: Path | None) -> tuple[bool, str]:
    """Drop the pages of the files below `folder`; returns True if that was done, and the means or the reason."""
    if folder is None:
        return False, "no data folder was named"
    with suppress(OSError):
        DROP_CACHES.write_text("1\n")
        return True, "drop_caches"
    if not hasattr(os, "posix_fadvise"):
        return False, "this operating system has no means for it"
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    try:
        for path in files:
            _drop_file(path)
    except OSError as error:
        return False, f"{type(error).__name__}: {error.strerror}"
    return bool(files), f"posix_fadvise on {len(files)} files"


def _drop_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)  # pages not yet written would stay
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
