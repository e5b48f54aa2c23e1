# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as exceptions that never cut an event of the log in two.

Slurm and torchrun send SIGTERM; Python would die of it without unwinding, and leave a log without run_stop.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like Ctrl-C."""


EXCEPTIONS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


class Interrupts:
    """From `install` to `restore` both signals raise, at the end of a `deferred` block where they come inside one."""

    def __init__(self) -> None:
        self._former: dict[int, object] = {}
        self._depth = 0
        self._pending: type[KeyboardInterrupt] | None = None

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may, and only it is interrupted
        for number in EXCEPTIONS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as a shell sets it for jobs in the background
                self._former[number] = signal.signal(number, self._interrupt)

    def restore(self) -> None:
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

    def _interrupt(self, number: int, frame: object) -> None:
        if self._depth:
            self._pending = EXCEPTIONS[signal.Signals(number)]
            return
        raise EXCEPTIONS[signal.Signals(number)]
