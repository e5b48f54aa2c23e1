# SPDX-License-Identifier: Apache-2.0
"""Bounded reading: what could block or fill the memory is refused at once."""

import os

import pytest

from compliance.files import regular_file
from compliance.files.errors import UserError


def test_the_largest_size_that_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"0" * 2048)
    assert len(regular_file.read(path, 2048)) == 2048
    path.write_bytes(b"0" * 2049)
    with pytest.raises(UserError, match=r"a\.json: cannot be read: larger than 2 KiB"):
        regular_file.read(path, 2048)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "nothing"])
def test_anything_but_a_regular_file_is_refused(tmp_path, kind):
    path = tmp_path / "a.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"a\.json: cannot be read: (it is not|Is a directory|No such file)"):
        regular_file.read(path, 1000)
    assert not regular_file.is_regular(path)


def test_links_are_neither_files_nor_folders(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder_link").symlink_to(tmp_path)
    assert regular_file.is_regular(tmp_path / "file")
    assert not regular_file.is_regular(tmp_path / "link")
    assert regular_file.is_folder(tmp_path)
    assert not regular_file.is_folder(tmp_path / "folder_link")
