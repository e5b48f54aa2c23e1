# SPDX-License-Identifier: Apache-2.0
"""Writes files and folders that appear whole or not at all.

    write(path, text)                                        # bytes or text
    with open_file(path) as file: file.write(block)          # binary, for content that does not fit into memory
    with unfinished_file(path) as part: torch.save(x, part)  # for libraries that open a path themselves
    with unfinished_folder(path) as folder: ...              # a tree; nothing may be at `path` yet
    check_folder(folder)                                     # before long work whose files go there

Each form writes beside the destination under a hidden name, and renames at the end of the block. An exception removes
what was written. With `durable=True` the content is on the disk before it replaces an older file, so that a power
failure leaves one of the two. UserError if the destination cannot be written.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from compliance.files.errors import UserError

SUFFIX = ".part"
"""Names of unfinished files and folders are hidden, end so, and are never those of data."""
NUM_NAME_CHARACTERS = 120  # of the destination in the hidden name, which may have 255 bytes


def write(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Write a whole file. Characters that UTF-8 cannot encode are escaped."""
    with open_file(path, durable=durable) as file:
        file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def check_folder(folder: Path) -> None:
    """UserError, before long work, if files cannot be written into the folder, which need not exist. Makes nothing."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written: {existing} is not a writable folder; name another one")


@contextmanager
def open_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Yield a binary file object whose content becomes the file at `path`."""
    with unfinished_file(path, durable=durable) as part, part.open("wb") as file:
        yield file


@contextmanager
def unfinished_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path for the block to write to; that file then replaces the one at `path`.

    A link keeps its place and its target is replaced. Devices and pipes such as /dev/stdout are written directly.
    """
    mode = _mode(path)
    if mode and stat.S_ISDIR(mode):
        raise UserError(f"{path}: found a folder, expected the name of a file")
    if mode and (not stat.S_ISREG(mode) or path.is_relative_to("/dev")):
        with _as_user_error(path, path):
            yield path
        return
    target = Path(os.path.realpath(path))
    part = _hidden(target)
    try:
        with _as_user_error(path, part):
            yield part
            if mode:
                part.chmod(stat.S_IMODE(mode))
            _put_in_place(part, target, durable)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` at the end. UserError if anything but an empty folder is there."""
    import shutil  # few commands write folders

    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise UserError(f"{path}: exists already and is not overwritten; name another folder")
    part = _hidden(path)
    try:
        with _as_user_error(path, part):
            part.mkdir(parents=True)
            yield part
            part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hidden(path: Path) -> Path:
    """A name that no other process or thread uses, on whatever node."""
    return path.with_name(f".{path.name[:NUM_NAME_CHARACTERS]}.{os.urandom(4).hex()}{SUFFIX}")


def _mode(path: Path) -> int | None:
    """Type and permissions of what is at `path`; None if nothing is there."""
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _put_in_place(part: Path, target: Path, durable: bool) -> None:
    if durable:
        sync(part)
    part.replace(target)
    if durable:
        sync(target.parent)


@contextmanager
def _as_user_error(path: Path, part: Path) -> Iterator[None]:
    """Turn an OSError about the destination into a UserError; errors about other files pass."""
    try:
        yield
    except OSError as error:
        names = [os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
        if names and not any(
            name in (str(path), os.path.realpath(path)) or name.startswith(str(part)) for name in names
        ):
            raise
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
