# SPDX-License-Identifier: Apache-2.0
"""LogDigest: a running SHA-256 of a log's own events, by which an edited log is recognized.

    digest = LogDigest()
    digest.update(':::MLLOG {"key": "run_start", ...}')
    digest.hexdigest()                       # the value of the event log_digest that is logged next

The format that `check` verifies (rule L121):

- The digest is SHA-256, as 64 lower-case hexadecimal digits.
- Each event adds its JSON text, byte for byte, from the `{` after the marker `:::MLLOG` to the matching `}`, and one
  line feed. A prefix before the marker, blanks around the text, line ends, and lines without an event add nothing.
- A run logs {"key": "log_digest", "value": DIGEST, "event_type": "POINT_IN_TIME", ...} after each epoch_stop and after
  run_stop. DIGEST covers all events before this one, earlier log_digest events included; this one is added after it.
- The last log_digest of a log comes after run_stop. Either all runs of an entry have them, or none (L125).
- A resumed run continues with `LogDigest.of(log)`, the digest of the events that its log has kept.

A submitter can write the whole chain anew. Whoever signs the digests (compliance/submissions/log_digests.py) vouches
for the logs, and nobody else can change them afterwards.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compliance.mllog import MARKER, SHELL_TRACE

KEY = "log_digest"
MAX_LINE_BYTES = 1 << 20
_KEY_TEXT = f'"{KEY}"'.encode()


@dataclass(frozen=True)
class BrokenLink:
    """A log_digest that is not the digest of the events before it."""

    line: int
    """Line of the event, starting at 1."""
    found: str
    expected: str


class LogDigest:
    """The digest of the events of one log so far."""

    def __init__(self) -> None:
        from hashlib import sha256  # imports OpenSSL, which few submissions need

        self._hash = sha256()

    @classmethod
    def of(cls, path: Path) -> Self:
        """The digest of a log's events, to continue it. Raises OSError."""
        digest = cls()
        for _, event in _events(path):
            digest._add(event)
        return digest

    def update(self, line: str | bytes) -> None:
        """Add the event of a line; a line without an event changes nothing."""
        event = _event(line.encode() if isinstance(line, str) else line)
        if event is not None:
            self._add(event)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _add(self, event: bytes) -> None:
        self._hash.update(event + b"\n")


def broken_links(path: Path) -> Iterator[BrokenLink]:
    """The log_digest events of a log that are wrong. Raises OSError."""
    digest = LogDigest()
    for line, event in _events(path):
        if _KEY_TEXT in event and (found := _logged_digest(event)) is not None and found != digest.hexdigest():
            yield BrokenLink(line, found, digest.hexdigest())
        digest._add(event)


def _events(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line, JSON text) of every event; lines longer than MAX_LINE_BYTES are split and hold none."""
    number, is_start = 1, True
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            event = _event(line) if is_start else None
            if event is not None:
                yield number, event
            is_start = line.endswith(b"\n")
            number += is_start


def _event(line: bytes) -> bytes | None:
    """The JSON text of the event in a line; None for any other line."""
    prefix, marker, text = line.partition(MARKER)
    text = text.strip()
    if not marker or not text.startswith(b"{") or SHELL_TRACE.search(prefix[-80:]):
        return None
    return text if text.endswith(b"}") else _without_rest(text)


def _without_rest(text: bytes) -> bytes:
    """The JSON object at the start of a text that other output follows; the whole text if it is damaged."""
    decoded = text.decode("utf-8", "surrogateescape")
    try:
        _, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return text
    return decoded[:end].encode("utf-8", "surrogateescape")


def _logged_digest(event: bytes) -> str | None:
    """The value of a log_digest event; None for another event that only mentions the key."""
    try:
        record = json.loads(event)
    except (ValueError, RecursionError):
        return None
    is_digest = isinstance(record, dict) and record.get("key") == KEY
    return str(record.get("value"))[:100] if is_digest else None
