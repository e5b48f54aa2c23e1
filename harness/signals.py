# SPDX-License-Identifier: Apache-2.0
"""Turns Ctrl-C and SIGTERM into exceptions that never split an event of the log and never skip its end.

Slurm and torchrun send SIGTERM. Python's default is to die without unwinding, which would leave a log without run_stop.
Both also send it more than once. The first signal raises; while the program then unwinds, further ones are ignored for
SECONDS_TO_UNWIND, so that they cannot interrupt the code that closes the log.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like Ctrl-C."""


EXCEPTIONS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
SECONDS_TO_UNWIND = 10.0
"""After this time a further signal raises again, because the program hangs while it unwinds."""


class Interrupts:
    """From `install` to `restore` both signals raise; inside a `deferred` block they raise at its end.

    protected: functions that are never interrupted, not even by a signal that arrives at their first instruction, where
    they cannot be in a `deferred` block yet. Such a signal raises at the next end of a `deferred` block.
    """

    def __init__(self, *protected: CodeType) -> None:
        self._protected = frozenset(protected)
        self._former: dict[signal.Signals, signal._HANDLER] = {}
        self._depth = 0
        self._pending: type[KeyboardInterrupt] | None = None
        self._raised_s: float | None = None

    def install(self) -> None:
        """Handle the signals; a thread other than the main one cannot, and is never interrupted."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in EXCEPTIONS:
            if signal.getsignal(number) != signal.SIG_IGN:  # a shell ignores SIGINT for background jobs
                self._former[number] = signal.signal(number, self._interrupt)

    def restore(self) -> None:
        """Put the former handlers back; a signal that is still held back raises."""
        while self._former:
            signal.signal(*self._former.popitem())
        self._raise_pending()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold interrupts back until the end of the block."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self._raise_pending()

    def _raise_pending(self) -> None:
        if self._pending and not self._depth and threading.current_thread() is threading.main_thread():
            pending, self._pending = self._pending, None
            self._raised_s = time.monotonic()
            raise pending

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._raised_s is not None and time.monotonic() - self._raised_s < SECONDS_TO_UNWIND:
            return
        self._pending = EXCEPTIONS[signal.Signals(number)]
        if not self._is_protected(frame):
            self._raise_pending()

    def _is_protected(self, frame: FrameType | None) -> bool:
        while frame:
            if frame.f_code in self._protected:
                return True
            frame = frame.f_back
        return False
