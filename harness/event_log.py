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

from compliance.errors import UserError

ROOT = Path(__file__).parent.parent
# Frames that say nothing about where in a benchmark an event was logged.
PASSED_OVER = re.compile(rf"{re.escape(str(ROOT / 'harness'))}/.*|.*/contextlib\.py")


class EventLogError(UserError):
    """An event log that cannot be opened or written."""


class EventLog:
    """Writes events to `path`; without a path it writes nothing, which is what all ranks but one do."""

    def __init__(self, path: Path | None) -> None:
        self._handler = None if path is None else _open(path)
        logger = logging.Logger("event log", level=logging.INFO)  # never registered: no other handler, no console
        logger.addHandler(self._handler or logging.NullHandler())
        self._mllogger = mllog.MLLogger(logger, root_dir=re.escape(str(ROOT)))

    def point(self, key: str, value: Any = None, **metadata: Any) -> None:
        """A POINT_IN_TIME event."""
        self._mllogger.event(key, value, metadata, stack_offset=_benchmark_frame())

    def start(self, interval: str, value: Any = None, **metadata: Any) -> None:
        """The INTERVAL_START of `<interval>_start`."""
        self._mllogger.start(f"{interval}_start", value, metadata, stack_offset=_benchmark_frame())

    def stop(self, interval: str, value: Any = None, **metadata: Any) -> None:
        """The INTERVAL_END of `<interval>_stop`."""
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


def _open(path: Path) -> _LineHandler:
    try:
        if path.exists() and path.stat().st_size > 0:
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
