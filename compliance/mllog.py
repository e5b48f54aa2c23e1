# SPDX-License-Identifier: Apache-2.0
"""RunLog: the mlperf-logging events of one file that may hold anything else besides.

    log = read(Path("result_0.txt"))
    log.first("run_start").time_ms, log.value("global_batch_size"), log.bad_lines

Every line with the marker is accounted for: an event, a bad line, or an event past the cap. The file is read in blocks
and no line is kept, so that memory does not grow with other output; a line without end costs one block.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

MARKER = b":::MLLOG"
BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20
MAX_EVENTS = 100_000  # about ten times the longest public log; keeps memory bounded whatever the file's size
MAX_BAD_LINES_KEPT = 100
MAX_TIME_MS = 10**14  # the year 5138: keeps infinity, NaN and absurd integers out of every later subtraction


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
    time_ms: int | float
    """Milliseconds since the epoch."""
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


@dataclass(kw_only=True)
class RunLog:
    """The events of one run, in file order."""

    path: Path
    events: list[Event] = field(default_factory=list)
    bad_lines: list[BadLine] = field(default_factory=list)
    """The first hundred; `num_bad_lines` counts all."""
    num_bad_lines: int = 0
    num_events: int = 0
    """Events of the file, those past the cap included."""
    num_lines: int = 0
    num_bytes: int = 0
    digest: str = ""
    """blake2b of the file's bytes."""
    error: str | None = None
    """Why the file could not be read."""
    by_key: dict[str, list[Event]] = field(default_factory=dict)

    def first(self, key: str) -> Event | None:
        events = self.by_key.get(key)
        return events[0] if events else None

    def last(self, key: str) -> Event | None:
        events = self.by_key.get(key)
        return events[-1] if events else None

    def all(self, key: str) -> list[Event]:
        return self.by_key.get(key, [])

    def value(self, key: str, default: Any = None) -> Any:
        """Value of the key's first event."""
        event = self.first(key)
        return default if event is None else event.value

    def values(self) -> dict[str, Any]:
        """First value of every key: what a constraint's `when` looks at."""
        return {key: events[0].value for key, events in self.by_key.items()}

    def add(self, event: Event) -> None:
        if not 0 <= event.time_ms < MAX_TIME_MS:
            self.add_bad(event.line, f"time_ms is {event.time_ms!r:.40}, expected milliseconds since 1970")
            return
        self.num_events += 1
        if self.num_events <= MAX_EVENTS:
            self.events.append(event)
            self.by_key.setdefault(event.key, []).append(event)

    def add_bad(self, line: int, reason: str) -> None:
        self.num_bad_lines += 1
        if len(self.bad_lines) < MAX_BAD_LINES_KEPT:
            self.bad_lines.append(BadLine(line, reason))


def read(path: Path) -> RunLog:
    """Parse one log. Never raises on content; a file that cannot be opened has `error` set."""
    log = RunLog(path=Path(path))
    try:
        with Path(path).open("rb", buffering=0) as file:
            _parse(file, log)
    except OSError as error:
        log.error = error.strerror or str(error)
    return log


def _parse(file: BinaryIO, log: RunLog) -> None:
    digest = blake2b(digest_size=16)
    for block, first_line in _blocks(file, digest, log):
        marked = [(line, text) for line, text in enumerate(block.split(b"\n"), first_line) if MARKER in text]
        texts = [text.partition(MARKER)[2] for _, text in marked]
        for (line, _), text, event in zip(marked, texts, _decode_all(texts), strict=True):
            if event is None:
                _parse_line(text, line, log)
            else:
                event.line = line
                event.key = sys.intern(event.key)
                log.add(event)
    log.digest = digest.hexdigest()


def _blocks(file: BinaryIO, digest, log: RunLog) -> Iterator[tuple[bytes, int]]:
    """Whole lines, about BLOCK_BYTES at a time, with the number of the first one; a longer line is cut into blocks."""
    rest, line = b"", 1
    while chunk := file.read(BLOCK_BYTES):
        digest.update(chunk)
        log.num_bytes += len(chunk)
        cut = chunk.rfind(b"\n") + 1
        if cut == 0 and len(rest) + len(chunk) <= 2 * BLOCK_BYTES:
            rest += chunk
            continue
        block, rest = rest + chunk[:cut], chunk[cut:]
        yield block, line
        line += block.count(b"\n")
    yield rest, line
    log.num_lines = line - 1 + (rest.count(b"\n") or bool(rest))


_DECODER = msgspec.json.Decoder(Event)


def _decode_all(texts: list[bytes]) -> list[Event | None]:
    """The events of all texts in one call, which is twice as fast; None for each where one of them is odd."""
    if max(map(len, texts), default=0) <= MAX_LINE_BYTES:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            events = _DECODER.decode_lines(b"\n".join(texts))
            if len(events) == len(texts):
                return events
    return [None] * len(texts)


def _parse_line(text: bytes, line: int, log: RunLog) -> None:
    if len(text) > MAX_LINE_BYTES:
        log.add_bad(line, f"an event of more than {MAX_LINE_BYTES >> 20} MiB")
        return
    try:
        event = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Two ranks that write at once can glue a second event to a cut-off first one.
        for piece in text.split(MARKER):
            _parse_odd(piece, line, log)
        return
    event.line = line
    event.key = sys.intern(event.key)
    log.add(event)


def _parse_odd(text: bytes, line: int, log: RunLog) -> None:
    """What the fast decoder refuses and Python accepts: latin-1, NaN, other output glued to the end."""
    try:
        record, _ = json.JSONDecoder().raw_decode(text.decode("latin-1").strip())
        event = msgspec.convert(record, Event)
    except msgspec.ValidationError as error:
        log.add_bad(line, f"not an event: {error}")
    except (ValueError, RecursionError):
        log.add_bad(line, "not JSON: cut off or broken")
    else:
        event.line = line
        log.add(event)
