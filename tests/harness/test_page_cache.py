# SPDX-License-Identifier: Apache-2.0
"""cache_clear is true only if pages were dropped."""

import os

import pytest

from harness import page_cache
from harness.page_cache import drop_caches


@pytest.fixture(autouse=True)
def kernel_file(tmp_path, monkeypatch):
    """The file of the kernel, which only root may write; in these tests nobody may."""
    monkeypatch.setattr(page_cache, "DROP_CACHES", tmp_path / "no" / "such" / "file")


def test_no_folder_is_no_drop():
    assert drop_caches(None) == (False, "no data folder was named")


def test_kernel_is_asked_where_that_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(page_cache, "DROP_CACHES", tmp_path / "drop_caches")
    assert drop_caches(tmp_path) == (True, "drop_caches")
    assert (tmp_path / "drop_caches").read_text() == "1\n"


def test_each_file_is_dropped_elsewhere(tmp_path, monkeypatch):
    dropped = []
    monkeypatch.setattr(os, "posix_fadvise", lambda descriptor, *_: dropped.append(os.fstat(descriptor).st_ino))
    (tmp_path / "train").mkdir()
    files = [tmp_path / "a", tmp_path / "train" / "b"]
    for path in files:
        path.write_bytes(b"samples")
    dropped_all, how = drop_caches(tmp_path)
    assert dropped_all
    assert how.startswith("posix_fadvise on 2 of 2 files in ")
    assert sorted(dropped) == sorted(path.stat().st_ino for path in files)


def test_folder_without_files_is_no_drop(tmp_path):
    assert drop_caches(tmp_path / "nowhere")[0] is False


def test_file_that_cannot_be_opened_is_no_drop(tmp_path, monkeypatch):
    (tmp_path / "a").touch()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert drop_caches(tmp_path) == (False, "PermissionError: Permission denied")
