# SPDX-License-Identifier: Apache-2.0
"""Drops the cached pages of the data set on a node, as the rules ask before a run, so that all data is read again.

    dropped, how = drop_caches(folder, command="sudo /usr/local/bin/drop_caches")

The site's own command is used if there is one, else the kernel's file, which only root may write, else posix_fadvise on
each file that training reads: those of the manifest, opened in parallel, for MAX_SECONDS at most.
"""

import ctypes
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from harness import progress
from harness.data import manifest
from harness.data.manifest import Manifest, ManifestError

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
MAX_SECONDS = 300.0
NUM_THREADS = 32
"""An open waits for the metadata server of a parallel file system, which answers many at a time."""
FILES_PER_TASK = 500


def drop_caches(folder: Path | None, command: str | None = None) -> tuple[bool, str]:
    """Drop the pages of the data set in `folder`; returns True if that was done, and the means or the reason."""
    if command:
        return _run(command)
    if folder is None:
        return False, "no data folder was named"
    with suppress(OSError):
        DROP_CACHES.write_text("1\n")
        return True, "drop_caches"
    if not hasattr(os, "posix_fadvise"):
        return False, "this operating system has no means for it"
    return _drop_files(_files(Path(folder)))


def _run(command: str) -> tuple[bool, str]:
    """Run the site's command, without a shell."""
    try:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, errors="replace", timeout=MAX_SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return False, f"{command}: {error}"
    said = (done.stderr.strip().splitlines() or [""])[-1][:200]
    return done.returncode == 0, f"{command}: exit code {done.returncode}{': ' if said else ''}{said}"


def _files(folder: Path) -> list[str]:
    """The files that training reads; every file of a folder without a manifest, or with archives."""
    try:
        if (folder / manifest.INDEX_NAME).exists():
            raise ManifestError("the manifest names what the archives hold")
        splits = Manifest.load(folder).splits
    except ManifestError:
        return [f"{place}/{name}" for place, _, names in os.walk(folder) for name in names]
    return [f"{folder}/{file.path}" for split in splits.values() for file in split.files]


def _drop_files(paths: Sequence[str]) -> tuple[bool, str]:
    start_s, num_dropped = time.monotonic(), 0
    tasks = [paths[first : first + FILES_PER_TASK] for first in range(0, len(paths), FILES_PER_TASK)]
    try:
        _write_dirty_pages(paths[:1])
        with (
            ThreadPoolExecutor(NUM_THREADS) as pool,
            progress.counted("dropping cached pages", len(tasks)) as advance,
        ):
            for done in pool.map(lambda task: _drop_until(task, start_s + MAX_SECONDS), tasks):
                num_dropped += done
                advance()
    except OSError as error:
        return False, f"{type(error).__name__}: {error.strerror}"
    how = f"posix_fadvise on {num_dropped} of {len(paths)} files in {time.monotonic() - start_s:.1f} s"
    return 0 < num_dropped == len(paths), how


def _drop_until(paths: Sequence[str], deadline_s: float) -> int:
    """Drop the pages of files until the deadline; returns the number of files that were dropped."""
    for number, path in enumerate(paths):
        if time.monotonic() > deadline_s:
            return number
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return len(paths)


def _write_dirty_pages(paths: Sequence[str]) -> None:
    """Write what this node has not written yet to the file system of these files; such pages would stay."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if (syncfs := getattr(ctypes.CDLL(None), "syncfs", None)) is not None:
                syncfs(descriptor)
            else:
                os.sync()
        finally:
            os.close(descriptor)
