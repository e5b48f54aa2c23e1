# SPDX-License-Identifier: Apache-2.0
"""Reads run logs: the lines of mlperf-logging in files that may contain any other output.

    log = read(Path("result_0.txt"))
    log.first("run_start").time_ms, log.value("global_batch_size"), log.bad_lines

Every line with the marker is counted: as an event, a bad line or a shell trace. The file is read in blocks and no line
is kept. RunLog bounds what is kept of the events.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from compliance.run_log import MAX_TEXT, Event, RunLog, bounded, is_small

MARKER = b":::MLLOG"
OLDER_MARKERS = (b":::MLL ", b":::MLPv0.")  # MLPerf Training v0.6 and v0.5
BLOCK_BYTES = 1 << 20
HEAD_BYTES = 64 << 10
MAX_LINE_BYTES = 1 << 20
MAX_BAD_LINES_READ = 10_000  # further lines are not searched for unusual events, which takes ten times as long
MAX_EVENTS_OF_ENTRY = 400_000  # kept events of the logs of one entry, about 100 MB
SHELL_TRACE = re.compile(rb"(?:^|\s)\++ ")
FILE_TYPES = {
    b"\x1f\x8b": "a gzip file; unpack it with gunzip",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it with unzstd",
    b"\xfd7zXZ": "an xz file; unpack it with unxz",
    b"BZh": "a bzip2 file; unpack it with bunzip2",
    b"PK\x03\x04": "a zip file; unpack it with unzip",
    b"\xff\xfe": "UTF-16 text; convert it with iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it with iconv -f UTF-16 -t UTF-8",
}


class ReadBudget:
    """The number of events that the logs of one entry may keep in memory together."""

    def __init__(self, num_events: int = MAX_EVENTS_OF_ENTRY) -> None:
        self.num_events = num_events


class UnreadLog(RunLog):
    """A log whose file is read when one of its fields is first used."""

    def __init__(self, path: Path, budget: ReadBudget | None = None) -> None:
        self.path = path  # no other field: __getattr__ is called for those
        vars(self)["_budget"] = budget or ReadBudget()

    def __getattr__(self, name: str) -> Any:
        if name not in RunLog.__annotations__:
            raise AttributeError(name)
        budget = vars(self)["_budget"]
        log = read(self.path) if budget.num_events > 0 else refused(self.path)
        budget.num_events -= len(log.events) + log.num_extra
        vars(self).update(vars(log))
        return vars(self)[name]

    def forget(self, **known: Any) -> None:
        """Free the events, but for the `known` fields; the file is read again when another field is used."""
        budget = vars(self)["_budget"]
        budget.num_events += len(vars(self).get("events", ())) + vars(self).get("num_extra", 0)
        path = self.path
        vars(self).clear()
        vars(self).update(known, path=path, _budget=budget)


def refused(path: Path) -> RunLog:
    """A log that is not read, since the logs of its entry are too long together."""
    log = RunLog(path)
    log.error = f"not read: the other logs of the entry have {MAX_EVENTS_OF_ENTRY} events"
    return log


def read(path: Path, max_bytes: int | None = None) -> RunLog:
    """Parse one log, or its first bytes. Never raises on content; sets `error` if the file cannot be opened."""
    log = RunLog(Path(path))
    try:
        with log.path.open("rb", buffering=0) as file:
            for block, first_line, num_lines in _blocks(file, log, max_bytes):
                if not _add_plain(block, first_line, num_lines, log):
                    _add_mixed(block, first_line, log)
    except OSError as error:
        log.error = error.strerror or str(error)
    return log


def _blocks(file: BinaryIO, log: RunLog, max_bytes: int | None) -> Iterator[tuple[bytes, int, int]]:
    """(block of whole lines, number of its first line, lines in it); a line longer than a block is split."""
    rest = b""
    while chunk := file.read(BLOCK_BYTES if max_bytes is None else min(BLOCK_BYTES, max_bytes - log.num_bytes)):
        if log.num_bytes == 0:
            log.file_type = next((text for magic, text in FILE_TYPES.items() if chunk.startswith(magic)), "")
        log.num_bytes += len(chunk)
        cut = chunk.rfind(b"\n") + 1
        if cut == 0 and len(rest) + len(chunk) <= 2 * BLOCK_BYTES:
            rest += chunk
            continue
        block, rest = rest + chunk[:cut], chunk[cut:]
        num_lines = block.count(b"\n")
        yield block, log.num_lines + 1, num_lines
        log.num_lines += num_lines
    if rest and max_bytes is None:  # otherwise the rest may be the head of a line
        yield rest, log.num_lines + 1, 1
        log.num_lines += 1


_DECODER = msgspec.json.Decoder(Event)
_LENIENT_DECODER = json.JSONDecoder()


def _add_plain(block: bytes, first_line: int, num_lines: int, log: RunLog) -> bool:
    """Add a block in which every line is an event, as in most logs, in a few calls. False for any other block."""
    texts = block.removesuffix(b"\n").split(b"\n" + MARKER)
    if len(texts) != num_lines or not texts[0].startswith(MARKER):
        return False
    texts[0] = texts[0].removeprefix(MARKER)
    events = _decode_all(texts)
    if events:
        log.add(events, range(first_line, first_line + len(events)), texts)
    return bool(events)


def _add_mixed(block: bytes, first_line: int, log: RunLog) -> None:
    """Add a block that may contain anything."""
    lines = block.split(b"\n")
    if any(marker in block for marker in OLDER_MARKERS):
        log.num_older += sum(any(marker in text for marker in OLDER_MARKERS) for text in lines)
    marked: list[tuple[int, bytes]] = []
    for line, text in enumerate(lines, first_line):
        if MARKER not in text:
            continue
        prefix, _, event = text.partition(MARKER)
        if SHELL_TRACE.search(prefix[-80:]):
            log.num_shell_traces += 1
        else:
            marked.append((line, event))
    texts = [text for _, text in marked]
    events = _decode_all(texts)
    if events:
        log.add(events, [line for line, _ in marked], texts)
        return
    for line, text in marked:
        _add_line(text, line, log)


def _decode_all(texts: list[bytes]) -> list[Event]:
    """The events of all texts in one call, which is twice as fast; none if one of them needs `_add_line`."""
    if sum(map(len, texts)) <= MAX_LINE_BYTES or max(map(len, texts)) <= MAX_LINE_BYTES:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            events = _DECODER.decode_lines(b"\n".join(texts))
            if len(events) == len(texts):
                return events
    return []


def _add_line(text: bytes, line: int, log: RunLog) -> None:
    if len(text) > MAX_LINE_BYTES:
        log.add_bad(line, f"an event of more than {MAX_LINE_BYTES >> 20} MiB")
        return
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        log.add([_DECODER.decode(text)], [line], [text])
        return
    if log.num_bad_lines >= MAX_BAD_LINES_READ:
        log.add_bad(line, "not one event")
        return
    # Two ranks that write at once can append a second event to a truncated first one.
    for piece in text.split(MARKER):
        _add_unusual(piece, line, log)


def _add_unusual(text: bytes, line: int, log: RunLog) -> None:
    """Add an event that only Python's decoder accepts: latin-1, NaN, another event_type, other output after it."""
    record: Any = None
    try:
        record, end = _LENIENT_DECODER.raw_decode(text.decode("latin-1").lstrip())
        event = msgspec.convert(_without_lists(record), Event)
    except msgspec.ValidationError as error:
        log.add_bad(line, f"not an event: {_explained(str(error), record)}")
    except (ValueError, RecursionError):
        log.add_bad(line, "not JSON: truncated or damaged")
    else:
        event.event_type = str(record.get("event_type", ""))[:40]  # type: ignore[assignment]
        log.add([event], [line], [text.lstrip()[:end]])


def _without_lists(record: Any) -> Any:
    """The record without its event_type, and with lists and long texts of its metadata as short texts."""
    if not isinstance(record, dict) or not isinstance(record.get("event_type", ""), str):
        return record
    known = {name: value for name, value in record.items() if name != "event_type"}
    if isinstance(metadata := record.get("metadata"), dict):
        known["metadata"] = {name: _as_scalar(value) for name, value in metadata.items()}
    return known


def _as_scalar(value: Any) -> Any:
    return value if is_small(value) else str(bounded(value))[:MAX_TEXT]


def _explained(error: str, record: Any) -> str:
    """The decoder's message; for a time in another unit, what was found and expected."""
    time_ms = record.get("time_ms") if isinstance(record, dict) else None
    if "time_ms" in error and isinstance(time_ms, int | float) and not isinstance(time_ms, bool) and time_ms >= 10**14:
        return f"time_ms is {str(time_ms)[:24]}, expected milliseconds since 1970 below 1e14; is it in microseconds?"
    return error
