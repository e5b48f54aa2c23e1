# SPDX-License-Identifier: Apache-2.0
"""RunLog: the mlperf-logging events of one run, in file order; compliance/mllog.py reads them from a file.

    log.first("run_start").time_ms, log.value("global_batch_size"), log.bad_lines

The number of events and the size of their values are bounded, so that a log needs little memory for any content.
"""

import json
import sys
import zlib
from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from compliance.signature import Signature, signature_of

T = TypeVar("T")
MAX_EVENTS_PER_KEY = 128  # of keys such as a loss per step; interval marks and evaluations are all kept
MAX_EVENTS = 20_000  # kept events of one log; about eight times those of the longest public log
MAX_BAD_LINES_KEPT = 100
MAX_SOURCES = 100
MAX_TEXT = 256  # characters of a kept text
MAX_ITEMS = 64  # items of a kept list or table
QUALITIES = ("eval_error", "eval_accuracy")
NAMES_OF_AN_EVENT = (b'"key"', b'"value"', b'"time_ms"', b'"status"')
POSSIBLE_TIME = msgspec.Meta(ge=0, lt=10**14)
"""Until the year 5138: excludes infinity, NaN and huge integers from every later subtraction."""
Scalar = int | float | bool | Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] | None
EVENT_TYPES = ("POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END")
EventType = Literal["POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END", ""]


class Metadata(msgspec.Struct, gc=False):
    """The fields of an event's metadata that the rules use; a missing one is None."""

    epoch_num: Scalar = None
    step_num: Scalar = None
    step: Scalar = None
    """The name of step_num in tracked_stats."""
    first_epoch_num: Scalar = None
    epoch_count: Scalar = None
    status: Scalar = None
    staging_duration: Scalar = None
    training_epoch_latency: Scalar = None
    eval_epoch_latency: Scalar = None
    file: Scalar = None


class Event(msgspec.Struct, gc=False):
    """One log line: `:::MLLOG {"key": ..., "value": ..., "time_ms": ..., "event_type": ..., "metadata": {...}}`."""

    key: str
    time_ms: Annotated[int, POSSIBLE_TIME] | Annotated[float, POSSIBLE_TIME]
    """Milliseconds since 1970."""
    value: Any = None
    event_type: EventType = ""
    """One of EVENT_TYPES in a log that keeps to the format, otherwise any text."""
    metadata: Metadata | None = None
    line: int = 0
    """Line of the file, starting at 1."""


@dataclass(frozen=True)
class BadLine:
    """A line with the marker that is not exactly one event."""

    line: int
    reason: str


class RunLog:
    """The events of one run, in file order."""

    path: Path
    events: list[Event]
    by_key: dict[str, list[Event]]
    bad_lines: list[BadLine]
    """The first hundred; `num_bad_lines` counts all."""
    num_bad_lines: int
    memory: dict[Hashable, Any]
    """Results that several rules need, by name; they are freed with the events."""
    num_events: int
    """Events of the file, including those that are not kept."""
    passed_over: dict[str, int]
    """Events of each key that are not kept because the key has too many."""
    num_extra: int
    """Memory of texts, lists and tables among the values, in events."""
    num_unkept: int
    """Events that are not kept because the log has too many."""
    num_shell_traces: int
    """Lines with the marker that a shell printed while running a command (`set -x`)."""
    num_older: int
    """Lines in a format of mlperf-logging before v0.7."""
    sources: set[str]
    """Source files that the events name in their metadata, at most MAX_SOURCES."""
    num_lines: int
    num_bytes: int
    file_type: str
    """Type of a file that is not plain text, with the command that converts it; otherwise empty."""
    error: str | None
    """Reason why the file could not be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events, self.by_key, self.bad_lines, self.passed_over, self.sources = [], {}, [], {}, set()
        self.num_bad_lines = self.num_events = self.num_extra = self.num_unkept = self.num_lines = self.num_bytes = 0
        self.num_shell_traces = self.num_older = 0
        self.memory = {}
        self.file_type, self.error = "", None

    def first(self, key: str) -> Event | None:
        events = self.by_key.get(key)
        return events[0] if events else None

    def last(self, key: str) -> Event | None:
        events = self.by_key.get(key)
        return events[-1] if events else None

    def all(self, key: str) -> list[Event]:
        return self.by_key.get(key, [])

    def line_of(self, key: str) -> int:
        """Line of the key's first event; 0 without one."""
        events = self.by_key.get(key)
        return events[0].line if events else 0

    def until_stop(self, key: str) -> list[Event]:
        """The key's events before run_stop; later ones are not part of the run. All of them without run_stop."""
        events, stops = self.by_key.get(key), self.by_key.get("run_stop")
        if not events or not stops or events[-1].line <= stops[-1].line:
            return events or []
        return events[: bisect_left(events, stops[-1].line, key=attrgetter("line"))]

    def in_order(self, *keys: str) -> list[Event]:
        """All events of these keys, in file order."""
        return sorted(chain.from_iterable(map(self.all, keys)), key=attrgetter("line"))

    def value(self, key: str, default: Any = None) -> Any:
        """Value of the key's first event."""
        events = self.by_key.get(key)
        return events[0].value if events else default

    def values(self) -> dict[str, Any]:
        """First value of every key, as a constraint's `when` needs them."""
        return {key: events[0].value for key, events in self.by_key.items()}

    @property
    def evaluations(self) -> list[Event]:
        """Evaluations of any benchmark's quality."""
        return [event for key in QUALITIES for event in self.all(key)]

    @cached_property
    def runs_forward(self) -> bool:
        """True if no event is earlier than one before it."""
        times = [event.time_ms for event in self.events]
        return times == sorted(times)

    @cached_property
    def signature(self) -> Signature:
        """The values of the run by which copies of it are recognized."""
        return signature_of(self)

    @cached_property
    def digest(self) -> bytes:
        """blake2b of the file's bytes. The file is read again: few logs are so similar that they need it."""
        from hashlib import blake2b, file_digest  # imports OpenSSL, which few submissions need

        try:
            with self.path.open("rb") as file:
                return file_digest(file, lambda: blake2b(digest_size=16)).digest()
        except OSError:  # deleted since it was read: equal to no other log
            return bytes(self.path)

    def add(self, events: Sequence[Event], lines: Sequence[int], texts: Sequence[bytes]) -> None:
        """Add decoded events with the numbers and texts of their lines. The loop is the hot spot of reading a log."""
        self.num_events += len(events)
        if len(self.events) + self.num_extra >= MAX_EVENTS:
            self.num_unkept += len(events)
            return
        by_key, keep, passed_over, source = self.by_key, self.events.append, self.passed_over, None
        for event, line, text in zip(events, lines, texts, strict=True):
            key = event.key
            if key in passed_over:
                passed_over[key] += 1
                continue
            same = by_key.get(key)
            if same is None:
                same = self._events_of(event)
                self._find_repeated(text, line)
            elif len(same) >= MAX_EVENTS_PER_KEY and not _is_kept(key):
                passed_over[key] = 1
                continue
            else:
                event.key = same[0].key  # one text for all
                if key in QUALITIES:
                    self._find_repeated(text, line)
            event.line = line
            kind = event.value.__class__
            if kind is list or kind is dict or (kind is str and len(event.value) > MAX_TEXT):
                self._bound(event)
            if (metadata := event.metadata) is not None:
                if metadata.file != source:
                    source = self._add_source(metadata.file)
                metadata.file = None
            same.append(event)
            keep(event)

    def _events_of(self, event: Event) -> list[Event]:
        """The list for events of this event's key, which is new."""
        event.key = sys.intern(bounded(event.key))
        return self.by_key.setdefault(event.key, [])

    def _find_repeated(self, text: bytes, line: int) -> None:
        """Note a name that the event has twice; its last value counts, as in other JSON readers.

        Called for the first event of each key and for evaluations only: the search would double the time of reading.
        """
        repeated = next((name for name in NAMES_OF_AN_EVENT if text.count(name) > 1), None)
        if repeated is not None:
            self.add_bad(line, f"{repeated.decode()} appears twice in the event")

    def _bound(self, event: Event) -> None:
        event.value = bounded(event.value)
        self.num_extra += len(event.value) >> 3

    def _add_source(self, file: Any) -> Any:
        if file is not None and len(self.sources) < MAX_SOURCES:
            self.sources.add(str(file))
        return file

    def remembered(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The result of `compute`, which is called only the first time that this log is asked for `key`."""
        if key not in self.memory:
            self.memory[key] = compute()
        return self.memory[key]

    def add_bad(self, line: int, reason: str) -> None:
        self.num_bad_lines += 1
        if len(self.bad_lines) < MAX_BAD_LINES_KEPT:
            self.bad_lines.append(BadLine(line, reason))


UNBOUNDED = frozenset({str, list, dict})


def bounded(value: Any) -> Any:
    """The value itself if it is small and flat; otherwise the head of its text, with length and checksum."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else _shortened(value)
    items = chain(value, value.values()) if isinstance(value, dict) else value
    if len(value) <= MAX_ITEMS and all(map(is_small, items)):
        return value
    try:
        return _shortened(json.dumps(value))
    except (ValueError, RecursionError):  # integers of thousands of digits, thousands of nested lists
        return "a value that is too long to show"


def is_small(item: Any) -> bool:
    return item.__class__ not in UNBOUNDED or (item.__class__ is str and len(item) <= MAX_TEXT)


def _shortened(text: str) -> str:
    checksum = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    return f"{text[:MAX_TEXT]}... ({len(text)} characters, crc32 {checksum:08x})"


def _is_kept(key: str) -> bool:
    """True for interval marks and evaluations: the clock and the quality depend on each of them."""
    return key.endswith(("_start", "_stop")) or key.startswith("eval_")
