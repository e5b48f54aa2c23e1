# SPDX-License-Identifier: Apache-2.0
"""The checksum of an arriving file is that of the whole, whatever the order and the threads it comes by."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.staging import streaming_sha256
from harness.staging.streaming_sha256 import StreamingSha256

CONTENT = bytes(range(256)) * 100
STRETCH = 1000


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


def add(checksum: StreamingSha256, offset: int) -> None:
    checksum.add(offset, memoryview(CONTENT)[offset : offset + STRETCH])


@pytest.mark.parametrize("max_ahead_bytes", [0, 3 * STRETCH, 1 << 20])
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_arrival_does_not_matter(path, monkeypatch, max_ahead_bytes, seed):
    monkeypatch.setattr(streaming_sha256, "MAX_AHEAD_BYTES", max_ahead_bytes)
    offsets = list(range(0, len(CONTENT), STRETCH))
    random.Random(seed).shuffle(offsets)
    checksum = StreamingSha256()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda offset: add(checksum, offset), offsets))
    assert checksum.finish(path) == hashlib.sha256(CONTENT).hexdigest()


def test_what_came_in_order_is_not_read_again(tmp_path):
    checksum = StreamingSha256()
    for offset in range(0, len(CONTENT), STRETCH):
        add(checksum, offset)
    (tmp_path / "other").write_bytes(bytes(len(CONTENT)))
    assert checksum.finish(tmp_path / "other") == hashlib.sha256(CONTENT).hexdigest()


def test_what_was_there_before_is_read(path):
    checksum = StreamingSha256()
    add(checksum, len(CONTENT) - STRETCH)
    assert checksum.finish(path) == hashlib.sha256(CONTENT).hexdigest()
