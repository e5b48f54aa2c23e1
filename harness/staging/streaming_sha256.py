# SPDX-License-Identifier: Apache-2.0
"""The checksum of a large file while its stretches arrive, so that it need not be read again when it is whole.

    checksum = StreamingSha256()
    checksum.add(offset, content)                      # from any thread, once the stretch is written
    found = checksum.finish(path)                      # when all of them are

SHA-256 goes from the first byte to the last. What arrives in that order, or a little before its turn, is hashed as
it comes; what comes much earlier, or came before staging was resumed, is read back from the file at the end.
"""

import hashlib
import threading
from pathlib import Path

MAX_AHEAD_BYTES = 64 << 20
"""Memory of one file's stretches that wait for their turn: a few units, as several threads write them."""
READ_BYTES = 1 << 20


class StreamingSha256:
    """See the module's head."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sha256, self._position = hashlib.sha256(), 0
        self._waiting: dict[int, memoryview] = {}
        self._is_hashing = False

    def add(self, offset: int, content: memoryview) -> None:
        """Hash what has its turn; where another thread is at it already, leave the content to that one."""
        with self._lock:
            if offset + len(content) <= self._position + MAX_AHEAD_BYTES:
                self._waiting[offset] = content
            if self._is_hashing:
                return
            self._is_hashing = True
        while content := self._next():
            self._sha256.update(content)

    def finish(self, path: Path) -> str:
        """The checksum of the whole file, in hexadecimal."""
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
