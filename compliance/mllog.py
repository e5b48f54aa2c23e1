# SPDX-License-Identifier: Apache-2.0
"""RunLog: the mlperf-logging events of one file that may hold anything else besides.

    log = read(Path("result_0.txt"))
    log.first("run_start").time_ms, log.value("global_batch_size"), log.bad_lines

Every line with the marker is accounted for: an event, a bad line, or an event past the cap. The file is read in blocks
and no line is kept, so that memory does not grow with other output; a line without end costs one block.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

MARKER = b":::MLLOG"
BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20
MAX_EVENTS = 100_000  # about ten times the longest public log; keeps memory bounded whatever the file's size
MAX_EVENTS_PER_KEY = 2000  # of such as a loss a step, which no rule reads; interval marks and evaluations are all kept
MAX_BAD_LINES_KEPT = 100
QUALITIES = ("eval_error", "eval_accuracy")
POSSIBLE_TIME = msgspec.Meta(ge=0, lt=10**14)
"""Until the year 5138: keeps infinity, NaN and absurd integers out of every later subtraction."""


class Metadata(msgspec.Struct, gc=False):
    """What the rules read of an event's metadata; absent is None."""

    epoch_num: Any = None
    first_epoch_num: Any = None
    epoch_count: Any = None
    status: Any = None
    staging_duration: Any = None


class Event(msgspec.Struct, gc=False):
    """One log line: `:::MLLOG {"key": ..., "value": ..., "time_ms": ..., "event_type": ..., "metadata": {...}}`."""

    key: str
    time_ms: Annotated[int, POSSIBLE_TIME] | Annotated[float, POSSIBLE_TIME]
    """Milliseconds since 1970."""
    value: Any = None
    event_type: str = ""
    metadata: Metadata | None = None
    line: int = 0
    """Line of the file, counted from 1."""


@dataclass(frozen=True)
class BadLine:
    """A line with the marker that holds no event."""

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
    num_events: int
    """Events of the file, those included that are not kept."""
    passed_over: Counter[str]
    """Events of each key that are not kept: those past MAX_EVENTS_PER_KEY."""
    num_lines: int
    num_bytes: int
    error: str | None
    """Why the file could not be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events, self.by_key, self.bad_lines, self.passed_over = [], {}, [], Counter()
        self.num_bad_lines = self.num_events = self.num_lines = self.num_bytes = 0
        self.error = None

    def first(self, key: str) -> Event | None:
        events = self.by_key.get(key)
        return events[0] if events else None

    def last(self, key: str) -> Event | None:
        events = self.by_key.get(key)
        return events[-1] if events else None

    def all(self, key: str) -> list[Event]:
        return self.by_key.get(key, [])

    def in_order(self, *keys: str) -> list[Event]:
        """All events of these keys, in file order."""
        return sorted(chain.from_iterable(map(self.all, keys)), key=attrgetter("line"))

    def value(self, key: str, default: Any = None) -> Any:
        """Value of the key's first event."""
        event = self.first(key)
        return default if event is None else event.value

    def values(self) -> dict[str, Any]:
        """First value of every key: what a constraint's `when` looks at."""
        return {key: events[0].value for key, events in self.by_key.items()}

    @property
    def evaluations(self) -> list[Event]:
        """Of every benchmark's quality."""
        return [event for key in QUALITIES for event in self.all(key)]

    @cached_property
    def runs_forward(self) -> bool:
        """No event is earlier than one before it."""
        times = [event.time_ms for event in self.events]
        return times == sorted(times)

    @cached_property
    def fingerprint(self) -> bytes:
        """The same for a log and its copy, moved in time or not: no two runs share the times between evaluations."""
        events = self.evaluations
        if len(events) < 2:
            return self.digest
        start_ms = events[0].time_ms
        course = [[event.value, event.time_ms - start_ms] for event in events]
        try:
            return msgspec.msgpack.encode(course)
        except (OverflowError, UnicodeEncodeError, RecursionError):  # integers of 400 digits, halves of characters
            return repr(course).encode("utf-8", "backslashreplace")

    @cached_property
    def digest(self) -> bytes:
        """blake2b of the file's bytes, which are read once more: few logs are so alike that they need it."""
        from hashlib import blake2b, file_digest  # and with it OpenSSL: few submissions need it

        try:
            with self.path.open("rb") as file:
                return file_digest(file, lambda: blake2b(digest_size=16)).digest()
        except OSError:  # gone since it was read: like no other
            return bytes(self.path)

    def add(self, events: Sequence[Event], lines: Sequence[int]) -> None:
        """Take decoded events with the numbers of their lines."""
        kept = len(events) if self.num_events + len(events) <= MAX_EVENTS else max(0, MAX_EVENTS - self.num_events)
        self.num_events += len(events)
        by_key, keep = self.by_key, self.events.append
        for event, line in zip(events[:kept], lines, strict=False):
            event.line = line
            same = by_key.get(event.key)
            if same is None:
                same = by_key[sys.intern(event.key)] = []
            elif len(same) >= MAX_EVENTS_PER_KEY and not _is_kept(event.key):
                self.passed_over[event.key] += 1
                continue
            else:
                event.key = same[0].key
            same.append(event)
            keep(event)

    def add_bad(self, line: int, reason: str) -> None:
        self.num_bad_lines += 1
        if len(self.bad_lines) < MAX_BAD_LINES_KEPT:
            self.bad_lines.append(BadLine(line, reason))


class UnreadLog(RunLog):
    """A log whose file is read when it is first asked for what the file holds."""

    def __init__(self, path: Path) -> None:
        self.path = path  # no other field: __getattr__ is asked for those

    def __getattr__(self, name: str) -> Any:
        if name not in RunLog.__annotations__:
            raise AttributeError(name)
        vars(self).update(vars(read(self.path)))
        return vars(self)[name]


def hashable(values: list) -> object:
    """A tuple; text where a log has lists or objects for values."""
    try:
        hash(key := tuple(values))
    except TypeError:
        return repr(values)
    return key


def _is_kept(key: str) -> bool:
    """All events of interval marks and evaluations are: the clock and the quality hang on each of them."""
    return key.endswith(("_start", "_stop")) or key.startswith("eval_")


def read(path: Path) -> RunLog:
    """Parse one log. Never raises on content; a file that cannot be opened has `error` set."""
    log = RunLog(Path(path))
    try:
        with log.path.open("rb", buffering=0) as file:
            for block, first_line, num_lines in _blocks(file, log):
                if not _take_plain(block, first_line, num_lines, log):
                    _take_mixed(block, first_line, log)
    except OSError as error:
        log.error = error.strerror or str(error)
    return log


def _blocks(file: BinaryIO, log: RunLog) -> Iterator[tuple[bytes, int, int]]:
    """About BLOCK_BYTES of whole lines, the first one's number, how many they are; a longer line is cut into blocks."""
    rest = b""
    while chunk := file.read(BLOCK_BYTES):
        log.num_bytes += len(chunk)
        cut = chunk.rfind(b"\n") + 1
        if cut == 0 and len(rest) + len(chunk) <= 2 * BLOCK_BYTES:
            rest += chunk
            continue
        block, rest = rest + chunk[:cut], chunk[cut:]
        num_lines = block.count(b"\n")
        yield block, log.num_lines + 1, num_lines
        log.num_lines += num_lines
    if rest:
        yield rest, log.num_lines + 1, 1
        log.num_lines += 1


_DECODER = msgspec.json.Decoder(Event)


def _take_plain(block: bytes, first_line: int, num_lines: int, log: RunLog) -> bool:
    """Take a block in which every line is an event, as in most logs: a few calls in all. False for any other block."""
    texts = block.removesuffix(b"\n").split(b"\n" + MARKER)
    if len(texts) != num_lines or not texts[0].startswith(MARKER):
        return False
    texts[0] = texts[0].removeprefix(MARKER)
    events = _decode_all(texts)
    if events:
        log.add(events, range(first_line, first_line + len(events)))
    return bool(events)


def _take_mixed(block: bytes, first_line: int, log: RunLog) -> None:
    """Take a block that may hold anything."""
    marked = [(line, text) for line, text in enumerate(block.split(b"\n"), first_line) if MARKER in text]
    texts = [text.partition(MARKER)[2] for _, text in marked]
    events = _decode_all(texts)
    if events:
        log.add(events, [line for line, _ in marked])
        return
    for (line, _), text in zip(marked, texts, strict=True):
        _take_line(text, line, log)


def _decode_all(texts: list[bytes]) -> list[Event]:
    """The events of all texts in one call, which is twice as fast; none where one of them is odd."""
    if sum(map(len, texts)) <= MAX_LINE_BYTES or max(map(len, texts)) <= MAX_LINE_BYTES:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            events = _DECODER.decode_lines(b"\n".join(texts))
            if len(events) == len(texts):
                return events
    return []


def _take_line(text: bytes, line: int, log: RunLog) -> None:
    if len(text) > MAX_LINE_BYTES:
        log.add_bad(line, f"an event of more than {MAX_LINE_BYTES >> 20} MiB")
        return
    try:
        log.add([_DECODER.decode(text)], [line])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Two ranks that write at once can glue a second event to a cut-off first one.
        for piece in text.split(MARKER):
            _take_odd(piece, line, log)


def _take_odd(text: bytes, line: int, log: RunLog) -> None:
    """What the fast decoder refuses and Python accepts: latin-1, NaN, other output glued to the end."""
    try:
        record, _ = json.JSONDecoder().raw_decode(text.decode("latin-1").strip())
        event = msgspec.convert(record, Event)
    except msgspec.ValidationError as error:
        log.add_bad(line, f"not an event: {error}")
    except (ValueError, RecursionError):
        log.add_bad(line, "not JSON: cut off or broken")
    else:
        log.add([event], [line])
