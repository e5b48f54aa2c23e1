# SPDX-License-Identifier: Apache-2.0
"""Heartbeats of all ranks. If a rank stops or its node hangs, the other ranks name it, close the log and end.

    with Watchdog(store, rank=3, names=names, limit_s=300) as watchdog:
        watchdog.before_exit(close_log)            # called with the reason if this process has to be ended
        ...
        watchdog.limit_collectives()               # once the first steps are done

A thread of each rank counts upwards in the store, and watches the count of the following rank. The threads of a stopped
process stop too, while a rank that computes, reads, compiles or waits in a collective still counts. A main thread that
hangs in such a process is found by the process group's timeout, which limit_collectives() sets to the same limit.
Collectives cannot be interrupted, so the thread ends the process if the main thread does not end by itself.

Each rank makes three small requests to the store per beat, and one more per second on rank 0.
"""

import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType

import torch
import torch.distributed as dist

BEATS_PER_LIMIT = 6
MAX_SECONDS_BETWEEN_BEATS = 30.0
SECONDS_BETWEEN_LOOKS = 1.0
"""Rank 0, which writes the log, looks this often whether a rank has failed."""
SECONDS_TO_LEAVE = 10.0
"""Time for the main thread to end by itself once the reason is known; at most the limit."""
MAX_NAMES = 8
MISSING, CLOSED = "watchdog/missing", "watchdog/closed"
TORCH, STANDARD_LIBRARY = (str(Path(str(module.__file__)).parent) for module in (torch, os))


class LostRankError(RuntimeError):
    """A rank that has failed or does not answer; the others end."""


class Watchdog:
    """The heartbeat of this rank and the watch over the others; see the module's docstring."""

    def __init__(self, store: dist.Store, *, rank: int, names: Sequence[str], limit_s: float) -> None:
        """`names`: a name of each rank, with its node.  `limit_s`: seconds without a heartbeat; 0 watches nothing."""
        self._store, self._rank, self._names, self._limit_s = store, rank, names, limit_s
        self._interval_s = min(limit_s / BEATS_PER_LIMIT, MAX_SECONDS_BETWEEN_BEATS)
        self._leave_s = min(limit_s, SECONDS_TO_LEAVE)
        self._main = threading.get_ident()
        self._callbacks: list[Callable[[LostRankError], object]] = []
        self._stop = threading.Event()
        self._count = 0
        self._is_ending = False
        self._last_answer = time.monotonic()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch, self._watch_store)]

    @classmethod
    def none(cls) -> "Watchdog":
        """A watchdog that watches nothing, for a single process."""
        return cls(dist.HashStore(), rank=0, names=(), limit_s=0)

    def __enter__(self) -> "Watchdog":
        if self._limit_s:
            self._store.set_timeout(timedelta(seconds=self._limit_s))
            self._beat()
            for thread in self._threads:
                thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads if self._limit_s else ():
            thread.join(SECONDS_BETWEEN_LOOKS)  # one that waits for the store goes with the process

    def before_exit(self, callback: Callable[[LostRankError], object]) -> None:
        """Call `callback` in another thread before this process is ended, while its main thread hangs."""
        self._callbacks.append(callback)

    def limit_collectives(self) -> None:
        """Let collectives of the world fail after the limit; before, initialization may need longer."""
        if self._limit_s:
            dist.distributed_c10d._get_default_group().set_timeout(timedelta(seconds=self._limit_s))

    def tell(self, reason: str) -> None:
        """End the other ranks, because this one fails; returns when rank 0 has closed its log, or after a while."""
        if self._limit_s:
            self._is_ending = True
            with suppress(RuntimeError):
                self._store.compare_set(MISSING, "", reason)
                self._store.wait([CLOSED], timedelta(seconds=2 * self._leave_s + SECONDS_BETWEEN_LOOKS))

    def closed(self) -> None:
        """Tell the other ranks that rank 0 has closed its log."""
        if self._limit_s and self._rank == 0:
            with suppress(RuntimeError):
                self._store.set(CLOSED, "")

    def print_whereabouts(self) -> None:
        """Print the places in the code at which the main threads of all ranks were last seen; on ranks 0 and 1 only."""
        if not self._limit_s or self._rank > 1:
            return
        places = defaultdict(list)
        with suppress(RuntimeError):
            for rank, beat in enumerate(self._beats()):
                places[beat.partition(" ")[2]].append(rank)
        for place, ranks in places.items():
            print(f"{_shortened(ranks)}: last seen at {place}", file=sys.stderr, flush=True)

    def _watch(self) -> None:
        following = (self._rank + 1) % len(self._names)
        last_beat, last_change = "", time.monotonic()
        while not self._stop.wait(self._interval_s):
            try:
                self._beat()
                beat = self._store.get(_key(following)).decode()
                if beat != last_beat:
                    last_beat, last_change = beat, time.monotonic()
                elif time.monotonic() - last_change > self._limit_s:
                    self._report()
                self._look()
            except RuntimeError:
                return  # the store is closed or does not answer: see _watch_store

    def _watch_store(self) -> None:
        """A store on a stopped node blocks the thread that asks it for ever, so that this one measures the time."""
        while not self._stop.wait(self._interval_s) and not self._is_ending:
            if time.monotonic() - self._last_answer > self._limit_s + self._interval_s:
                self._end(f"no answer from the store of {self._names[0]}, or of its launcher; look at its node")

    def _beat(self) -> None:
        self._count += 1
        self._store.set(_key(self._rank), f"{self._count} {_place_of(self._main)}")

    def _look(self) -> None:
        """Look for the report of another rank; on rank 0 until the next beat is due."""
        until = time.monotonic() + (self._interval_s if self._rank == 0 else 0)
        while not self._stop.is_set():
            if self._store.check([MISSING]):
                self._end(self._store.get(MISSING).decode())
            self._last_answer = time.monotonic()
            if time.monotonic() >= until or self._stop.wait(min(SECONDS_BETWEEN_LOOKS, self._interval_s)):
                return

    def _report(self) -> None:
        """Find out which ranks have stopped, and tell all."""
        before = self._beats()
        self._stop.wait(2 * self._interval_s)
        stopped = [rank for rank, beat in enumerate(self._beats()) if beat == before[rank] and rank != self._rank]
        names = ", ".join(self._names[rank] for rank in stopped[:MAX_NAMES])
        more = f" and {len(stopped) - MAX_NAMES} more" if len(stopped) > MAX_NAMES else ""
        if stopped:
            limit = f"{self._limit_s:g} s (watchdog_minutes)"
            self._store.compare_set(MISSING, "", f"no heartbeat from {names}{more} for {limit}; look at its node")

    def _beats(self) -> list[str]:
        return [beat.decode() for beat in self._store.multi_get([_key(rank) for rank in range(len(self._names))])]

    def _end(self, reason: str) -> None:
        """End this process, unless its main thread leaves by itself."""
        self._is_ending = True
        print(f"error: rank {self._rank}: {reason}", file=sys.stderr, flush=True)
        if self._stop.wait(self._leave_s):
            return
        for callback in self._callbacks:
            with suppress(Exception):
                callback(LostRankError(reason))
        self.closed()
        os._exit(1)


def _key(rank: int) -> str:
    return f"watchdog/{rank}"


def _place_of(thread: int) -> str:
    """The innermost line outside of PyTorch and Python's library that a thread executes, with its function."""
    frame = innermost = sys._current_frames().get(thread)
    while frame and _is_of_library(frame.f_code.co_filename):
        frame = frame.f_back
    frame = frame or innermost
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" if frame else "an unknown place"


def _is_of_library(file: str) -> bool:
    return file.startswith((TORCH, "<frozen")) or (file.startswith(STANDARD_LIBRARY) and "site-packages" not in file)


def _shortened(ranks: Sequence[int]) -> str:
    """A text for ranks: "rank 3", "ranks 0, 1, 2", "64 ranks from 0 on"."""
    if len(ranks) > MAX_NAMES:
        return f"{len(ranks)} ranks from {ranks[0]} on"
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
