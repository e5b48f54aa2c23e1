# SPDX-License-Identifier: Apache-2.0
"""Written bytes are read again, whatever the size, the place in the file, and where its memory begins."""

import os

import pytest

from harness.staging import direct_io
from harness.staging.direct_io import LARGE_BYTES

SIZES = [0, 1, 4096, LARGE_BYTES, LARGE_BYTES + 1, 2 * LARGE_BYTES + 5000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("begins_on_a_page", [True, False])
@pytest.mark.parametrize("offset", [0, 8192, 100])
def test_what_is_written_is_read_again(tmp_path, size, begins_on_a_page, offset):
    content = os.urandom(size)
    memory = memoryview(direct_io.memory(size + 1))[0 if begins_on_a_page else 1 :]
    memory[:size] = content
    direct_io.write_range(tmp_path / "file", offset, memory[:size])
    assert bytes(direct_io.read_range(tmp_path / "file", offset, size)) == content
    assert (tmp_path / "file").read_bytes() == (bytes(offset) + content if size else b"")


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_ends_before_gives_what_there_is(tmp_path, size):
    (tmp_path / "file").write_bytes(content := os.urandom(size))
    assert bytes(direct_io.read_range(tmp_path / "file", 0, size + LARGE_BYTES)) == content


def test_large_stretches_go_past_the_page_cache_where_that_can_be(tmp_path, monkeypatch):
    opened, plain = [], os.open

    def noting(path, flags, *mode):
        opened.append(bool(flags & os.O_DIRECT))
        return plain(path, flags, *mode)

    monkeypatch.setattr(os, "open", noting)
    direct_io.write_range(tmp_path / "large", 0, memoryview(direct_io.memory(LARGE_BYTES)))
    direct_io.write_range(tmp_path / "small", 0, memoryview(bytes(100)))
    direct_io.write_range(tmp_path / "unaligned", 100, memoryview(direct_io.memory(LARGE_BYTES)))
    assert opened == [True, False, True, False]  # the last one had to be written again


def test_a_full_disk_is_not_taken_for_one_without_direct_writing():
    with pytest.raises(OSError, match="No space left"):
        direct_io.write_range("/dev/full", 0, memoryview(direct_io.memory(LARGE_BYTES)))
