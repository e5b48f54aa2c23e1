# SPDX-License-Identifier: Apache-2.0
"""The SHA-256 of a large file while its ranges arrive, so that the whole file need not be read again.

    checksum = StreamingSha256()
    checksum.add(offset, content)                      # from any thread, once the range is written
    digest = checksum.finish(path)                     # once all ranges are written

SHA-256 needs the bytes in order. Ranges that arrive in order, or shortly before their turn, are hashed from memory.
Ranges that arrive much earlier, or arrived before a resumed staging, are read back from the file at the end.
"""

import hashlib
import threading
from pathlib import Path

MAX_AHEAD_BYTES = 64 << 20
"""Limit of one file's ranges that wait in memory for their turn; several threads write a few units at a time."""
READ_BYTES = 1 << 20


class StreamingSha256:
    """The checksum of one file; see the module's docstring."""

    def __init__(self) -> None:
        """Start with no bytes hashed."""
        self._lock = threading.Lock()
        self._sha256, self._position = hashlib.sha256(), 0
        self._waiting: dict[int, memoryview] = {}
        self._is_hashing = False

    def add(self, offset: int, content: memoryview) -> None:
        """Hash contiguous data; if another thread is hashing, leave this range to it."""
        with self._lock:
            if offset + len(content) <= self._position + MAX_AHEAD_BYTES:
                self._waiting[offset] = content
            if self._is_hashing:
                return
            self._is_hashing = True
        while (ready := self._next()) is not None:
            self._sha256.update(ready)

    def finish(self, path: Path) -> str:
        """The checksum of the whole file, in hexadecimal. Raises OSError."""
        with path.open("rb") as file:
            file.seek(self._position)
            while content := file.read(READ_BYTES):
                self._sha256.update(content)
        return self._sha256.hexdigest()

    def _next(self) -> memoryview | None:
        with self._lock:
            content = self._waiting.pop(self._position, None)
            self._is_hashing = content is not None
            self._position += len(content or b"")
            return content
