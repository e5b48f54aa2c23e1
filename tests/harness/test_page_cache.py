# SPDX-License-Identifier: Apache-2.0
"""cache_clear is true only if pages were dropped."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from compliance import mllog
from harness import page_cache
from harness.data.manifest import Manifest, Split, describe
from harness.page_cache import drop_caches
from harness.run import Run


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


def data_set(folder, names, splits=("train",)):
    """A data set whose manifest names some of the files that are there."""
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"sample")
    files = {
        split: Split(
            num_samples=1,
            files=tuple(describe(folder, folder / name) for name in names if name.startswith(split)),
        )
        for split in splits
    }
    description = {"format": "numpy", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
    Manifest(benchmark="toy", synthetic=True, splits=files, **description).save(folder)


def test_only_files_that_training_reads_are_dropped(tmp_path, monkeypatch):
    dropped = []
    monkeypatch.setattr(os, "posix_fadvise", lambda descriptor, *_: dropped.append(os.fstat(descriptor).st_ino))
    data_set(tmp_path, ["train/a", "train/b", "unused/c"])
    assert drop_caches(tmp_path)[1].startswith("posix_fadvise on 2 of 2 files")
    assert sorted(dropped) == sorted((tmp_path / name).stat().st_ino for name in ("train/a", "train/b"))


def test_dropping_stops_at_its_limit_of_time_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(page_cache, "MAX_SECONDS", 0)
    data_set(tmp_path, ["train/a", "train/b"])
    dropped, how = drop_caches(tmp_path)
    assert not dropped
    assert how.startswith("posix_fadvise on 0 of 2 files in ")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("sh -c 'echo dropped > {folder}/done'", (True, "exit code 0")),
        ("sh -c 'echo not allowed >&2; exit 3'", (False, "exit code 3: not allowed")),
        ("/no/such/command", (False, "No such file or directory")),
        ("sh -c 'unclosed", (False, "No closing quotation")),
    ],
)
def test_the_command_of_the_site_comes_first(tmp_path, command, expected):
    dropped, how = drop_caches(tmp_path, command.format(folder=tmp_path))
    assert (dropped, expected[1] in how) == (expected[0], True), how
    assert (tmp_path / "done").exists() == dropped


def test_the_run_logs_the_result_of_the_command_of_the_site(make_config, tmp_path):
    system = SimpleNamespace(drop_caches_command="true")
    with Run(replace(make_config(), system=system), tmp_path / "log.txt"):
        pass
    event = mllog.read(tmp_path / "log.txt").first("cache_clear")
    assert event.value is True
    assert '"how": "true: exit code 0"' in (tmp_path / "log.txt").read_text()
