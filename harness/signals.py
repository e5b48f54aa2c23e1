# SPDX-License-Identifier: Apache-2.0
"""Turns Ctrl-C and SIGTERM into exceptions that never split an event of the log.

Slurm and torchrun send SIGTERM. Python's default is to die without unwinding, which would leave a log without run_stop.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like Ctrl-C."""


EXCEPTIONS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


class Interrupts:
    """From `install` to `restore` both signals raise; inside a `deferred` block they raise at its end."""

    def __init__(self) -> None:
        self._former: dict[signal.Signals, signal._HANDLER] = {}
        self._depth = 0
        self._pending: type[KeyboardInterrupt] | None = None

    def install(self) -> None:
        """Handle the signals; a thread other than the main one cannot, and is never interrupted."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in EXCEPTIONS:
            if signal.getsignal(number) != signal.SIG_IGN:  # a shell ignores SIGINT for background jobs
                self._former[number] = signal.signal(number, self._interrupt)

    def restore(self) -> None:
        """Put the former handlers back."""
        while self._former:
            signal.signal(*self._former.popitem())

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold interrupts back until the end of the block."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._pending and not self._depth:
                pending, self._pending = self._pending, None
                raise pending

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._pending = EXCEPTIONS[signal.Signals(number)]
            return
        raise EXCEPTIONS[signal.Signals(number)]
