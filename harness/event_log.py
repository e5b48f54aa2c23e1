# SPDX-License-Identifier: Apache-2.0
"""EventLog: one run's file of mlperf-logging lines, flushed line by line.

mlperf_logging's shared logger keeps its handlers for the life of a process and prints to the console; every EventLog
has a logger of its own instead, so that two runs in one process never write into each other's file.
"""

import inspect
import logging
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlperf_logging.mllog import mllog

from compliance.files.errors import UserError

ROOT = Path(__file__).parent.parent
# Frames that say nothing about where in a benchmark an event was logged.
PASSED_OVER = re.compile(rf"{re.escape(str(ROOT / 'harness'))}/.*|.*/contextlib\.py")


class EventLogError(UserError):
    """An event log that cannot be opened or written."""


class EventLog:
    """Writes events to `path`; without a path it writes nothing, which is what all ranks but one do.

    num_bytes: how much of an existing log is kept and continued; muted until that is set to False.
    """

    def __init__(self, path: Path | None, *, num_bytes: int = 0) -> None:
        self.muted = num_bytes > 0
        """Write nothing: the log holds these events already."""
        self.num_discarded = _cut(path, num_bytes) if path and num_bytes else 0
        """Lines of an existing log that were not kept."""
        self._handler = None if path is None else _open(path, num_bytes)
        logger = logging.Logger("event log", level=logging.INFO)  # never registered: no other handler, no console
        logger.addHandler(self._handler or logging.NullHandler())
        self._mllogger = mllog.MLLogger(logger, root_dir=re.escape(str(ROOT)))

    def point(self, key: str, value: Any = None, **metadata: Any) -> None:
        """A POINT_IN_TIME event."""
        if not self.muted:
            self._mllogger.event(key, value, metadata, stack_offset=_benchmark_frame())

    def start(self, interval: str, value: Any = None, **metadata: Any) -> None:
        """The INTERVAL_START of `<interval>_start`."""
        if not self.muted:
            self._mllogger.start(f"{interval}_start", value, metadata, stack_offset=_benchmark_frame())

    def stop(self, interval: str, value: Any = None, **metadata: Any) -> None:
        """The INTERVAL_END of `<interval>_stop`."""
        if not self.muted:
            self._mllogger.end(f"{interval}_stop", value, metadata, stack_offset=_benchmark_frame())

    def close(self) -> None:
        if self._handler is not None:
            with suppress(OSError):  # a line that could not be written has been reported already
                self._handler.close()


class _LineHandler(logging.FileHandler):
    """A line that cannot be encoded or written is an error, where logging would leave a gap and go on."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno > logging.INFO:  # mllog's way of saying that it failed
            raise EventLogError(f"{self.baseFilename}: event not written: {sys.exc_info()[1] or record.getMessage()}")
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        raise EventLogError(f"{self.baseFilename}: event not written: {error}") from error


def _cut(path: Path, num_bytes: int) -> int:
    """Cut a log back to a length that it had; the number of lines that are lost."""
    try:
        with path.open("r+b") as file:
            file.seek(num_bytes)
            num_lines = file.read().count(b"\n")
            file.truncate(num_bytes)
    except OSError as error:
        raise EventLogError(f"{path}: cannot be continued: {error.strerror}") from None
    return num_lines


def _open(path: Path, num_bytes: int) -> _LineHandler:
    try:
        if path.exists() and path.stat().st_size > num_bytes:
            raise EventLogError(f"{path}: exists and is not empty; a log is not overwritten: move it or name another")
        path.parent.mkdir(parents=True, exist_ok=True)
        return _LineHandler(path, encoding="utf-8")
    except OSError as error:
        raise EventLogError(f"{path}: cannot be written: {error.strerror}; choose another output") from None


def _benchmark_frame() -> int:
    """mllog's stack offset, seen from its caller's caller, of the nearest frame outside the harness."""
    frame, depth = inspect.currentframe().f_back, 1
    while frame.f_back is not None and PASSED_OVER.fullmatch(frame.f_code.co_filename):
        frame, depth = frame.f_back, depth + 1
    return depth
