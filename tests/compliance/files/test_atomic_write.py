# SPDX-License-Identifier: Apache-2.0
"""Files and folders appear whole or not at all."""

import os
import resource
import stat
from pathlib import Path

import pytest

from compliance.files import atomic_write
from compliance.files.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("content", "bytes_on_disk"), [("ä\udcff", b"\xc3\xa4\\udcff"), (b"\x00\xff", b"\x00\xff")])
@pytest.mark.parametrize("durable", [False, True])
def test_text_and_bytes_are_written(tmp_path, content, bytes_on_disk, durable):
    atomic_write.write(tmp_path / "a.txt", content, durable=durable)
    assert (tmp_path / "a.txt").read_bytes() == bytes_on_disk
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_stays_until_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write.open_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write.open_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])


def test_a_library_may_open_the_path_itself(tmp_path):
    with atomic_write.unfinished_file(tmp_path / "a.bin") as part:
        part.write_bytes(b"123")
        assert names(tmp_path) == [part.name]
        assert part.name.startswith(".")
    assert (tmp_path / "a.bin").read_bytes() == b"123"


def test_the_mode_of_an_older_file_is_kept(tmp_path):
    path = tmp_path / "run.sh"
    path.write_text("old")
    path.chmod(0o750)
    atomic_write.write(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_link_keeps_its_place(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "link").symlink_to("a.txt")
    atomic_write.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_device_stays_a_device(tmp_path):
    atomic_write.write(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_pipe_is_written_to(tmp_path):
    read_end, write_end = os.pipe()
    atomic_write.write(Path(f"/dev/fd/{write_end}"), "through the pipe")
    os.close(write_end)
    with os.fdopen(read_end) as file:
        assert file.read() == "through the pipe"


@pytest.mark.parametrize("name", ["no/folder/a.txt", "a" * 300, "folder", "file/a.txt"])
def test_a_place_that_cannot_be_written_is_a_users_error(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written: |found a folder"):
        atomic_write.write(tmp_path / name, "text")
    assert names(tmp_path) == ["file", "folder"]


def test_the_longest_name_of_a_file(tmp_path):
    atomic_write.write(tmp_path / ("a" * 255), "text")
    assert names(tmp_path) == ["a" * 255]


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(UserError, match=r"big\.txt: cannot be written: File too large"):
            atomic_write.write(tmp_path / "big.txt", b"0" * (1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_errors_about_other_files_pass(tmp_path):
    with pytest.raises(FileNotFoundError, match="source"), atomic_write.open_file(tmp_path / "a.txt") as file:
        file.write((tmp_path / "source").read_bytes())
    assert names(tmp_path) == []


def test_a_folder_appears_whole(tmp_path):
    with atomic_write.unfinished_folder(tmp_path / "set") as folder:
        (folder / "train").mkdir()
        (folder / "train" / "0").write_text("0")
        assert not (tmp_path / "set").exists()
    assert (tmp_path / "set" / "train" / "0").read_text() == "0"
    assert names(tmp_path) == ["set"]


def test_a_folder_that_fails_leaves_nothing_behind(tmp_path):
    def fail() -> None:
        with atomic_write.unfinished_folder(tmp_path / "set") as folder:
            (folder / "0").write_text("0")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(tmp_path) == []


def test_an_empty_folder_is_filled_and_a_full_one_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    with atomic_write.unfinished_folder(tmp_path / "set") as folder:
        (folder / "0").write_text("0")
    with pytest.raises(UserError, match="set: exists already"), atomic_write.unfinished_folder(tmp_path / "set"):
        pass
    assert names(tmp_path / "set") == ["0"]
