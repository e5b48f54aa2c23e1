# SPDX-License-Identifier: Apache-2.0
"""Progress of staging on stderr: a bar on a terminal, otherwise one line a minute for a job's output file.

with staging_progress.shown(num_bytes) as advance:
    advance(len(payload))
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console

SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def shown(num_bytes: int, *, visible: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts bytes that have been written. `visible`: False shows nothing."""
    console = Console(stderr=True)
    if not visible:
        yield lambda num_more: None
    elif console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task("", total=num_bytes)
            yield lambda num_more: bar.advance(task, num_more)
    else:
        yield _Lines(num_bytes).advance


def _bar(console: Console) -> progress.Progress:
    return progress.Progress(
        progress.TextColumn("staging"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class _Lines:
    """Prints a line when a minute has passed since the last one."""

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes, self._num_written = num_bytes, 0
        self._start = self._printed = time.monotonic()

    def advance(self, num_more: int) -> None:
        """Count bytes that have been written."""
        self._num_written += num_more
        now = time.monotonic()
        if self._num_written and now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            print(self._line(now - self._start), file=sys.stderr, flush=True)

    def _line(self, seconds: float) -> str:
        rate = self._num_written / seconds
        minutes_left = (self._num_bytes - self._num_written) / rate / 60
        done = f"{self._num_written / 1e9:.3f} of {self._num_bytes / 1e9:.3f} GB"
        return f"staging: {done} on the first node, {rate / 1e9:.3f} GB/s, about {minutes_left:.0f} minutes left"
