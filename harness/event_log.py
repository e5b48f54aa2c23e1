# SPDX-License-Identifier: Apache-2.0
"""EventLog: the file of mlperf-logging lines of one run, flushed line by line.

The shared logger of mlperf_logging keeps its handlers for the life of a process and prints to the console. Every
EventLog has a logger of its own instead, so that two runs in one process never write into each other's file.
"""

import inspect
import logging
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from mlperf_logging.mllog import mllog

from compliance.files.errors import UserError
from compliance.log_digest import KEY, LogDigest

ROOT = Path(__file__).parent.parent
# These frames do not tell which line of a benchmark logged an event.
SKIPPED_FRAMES = re.compile(rf"{re.escape(str(ROOT / 'harness'))}/.*|.*/contextlib\.py")


class EventLogError(UserError):
    """An event log that cannot be opened or written."""


class EventLog:
    """Writes events to `path`. Without a path it writes nothing; all ranks but rank 0 use that.

    num_bytes: length of an existing log that is kept and continued. The log is then muted until `muted` is False.
    uninterrupted: makes a block in which no signal raises, so that the digest has every line that the file has.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        num_bytes: int = 0,
        uninterrupted: Callable[[], AbstractContextManager] = nullcontext,
    ) -> None:
        self._uninterrupted = uninterrupted
        self.muted = num_bytes > 0
        """True while events are not written because the kept part of the log holds them already."""
        self.num_discarded = _cut(path, num_bytes) if path and num_bytes else 0
        """Number of lines of an existing log that were cut off."""
        self._digest = LogDigest.of(path) if path and num_bytes else LogDigest()
        self._handler = None if path is None else _open(path, num_bytes, self._digest)
        logger = logging.Logger("event log", level=logging.INFO)  # never registered: no other handler, no console
        logger.addHandler(self._handler or logging.NullHandler())
        self._mllogger = mllog.MLLogger(logger, root_dir=re.escape(str(ROOT)))

    def point(self, key: str, value: Any = None, **metadata: Any) -> None:
        """Write a POINT_IN_TIME event."""
        if not self.muted:
            with self._uninterrupted():
                self._mllogger.event(key, value, metadata, stack_offset=_benchmark_frame())

    def start(self, interval: str, value: Any = None, **metadata: Any) -> None:
        """Write the INTERVAL_START `<interval>_start`."""
        if not self.muted:
            with self._uninterrupted():
                self._mllogger.start(f"{interval}_start", value, metadata, stack_offset=_benchmark_frame())

    def stop(self, interval: str, value: Any = None, **metadata: Any) -> None:
        """Write the INTERVAL_END `<interval>_stop`."""
        if not self.muted:
            with self._uninterrupted():
                self._mllogger.end(f"{interval}_stop", value, metadata, stack_offset=_benchmark_frame())

    def digest(self) -> None:
        """Write log_digest: the digest of all events so far, by which the checker recognizes an edited log."""
        self.point(KEY, self._digest.hexdigest())

    def close(self) -> None:
        """Close the file."""
        if self._handler is not None:
            with suppress(OSError):  # a line that could not be written has already been reported
                self._handler.close()


class _LineHandler(logging.FileHandler):
    """Raises if a line cannot be encoded or written; logging's own handler would leave a gap and continue."""

    def __init__(self, path: Path, digest: LogDigest) -> None:
        super().__init__(path, encoding="utf-8")
        self._digest = digest

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno > logging.INFO:  # mllog reports its own failures this way
            raise EventLogError(f"{self.baseFilename}: event not written: {sys.exc_info()[1] or record.getMessage()}")
        super().emit(record)
        self._digest.update(self.format(record))

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        raise EventLogError(f"{self.baseFilename}: event not written: {error}") from error


def _cut(path: Path, num_bytes: int) -> int:
    """Cut a log back to an earlier length; returns the number of lines that were cut off."""
    try:
        with path.open("r+b") as file:
            file.seek(num_bytes)
            num_lines = file.read().count(b"\n")
            file.truncate(num_bytes)
    except OSError as error:
        raise EventLogError(f"{path}: cannot be continued: {error.strerror}") from None
    return num_lines


def _open(path: Path, num_bytes: int, digest: LogDigest) -> _LineHandler:
    try:
        if path.exists() and path.stat().st_size > num_bytes:
            raise EventLogError(f"{path}: exists and is not empty; a log is not overwritten: move it or name another")
        path.parent.mkdir(parents=True, exist_ok=True)
        return _LineHandler(path, digest)
    except OSError as error:
        raise EventLogError(f"{path}: cannot be written: {error.strerror}; choose another output") from None


def _benchmark_frame() -> int:
    """mllog's stack offset, counted from the caller's caller, of the nearest frame outside the harness."""
    frame, depth = inspect.currentframe(), 0
    while frame and frame.f_back and (depth == 0 or SKIPPED_FRAMES.fullmatch(frame.f_code.co_filename)):
        frame, depth = frame.f_back, depth + 1
    return depth
