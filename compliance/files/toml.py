# SPDX-License-Identifier: Apache-2.0
"""Reads TOML that others have written, in little memory and linear time, and gives keys and values as TOML text."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compliance.files import regular_file
from compliance.files.errors import UserError

MAX_BYTES = 1 << 20
MAX_DOTS = 256  # in a line; the time that tomllib takes for a dotted key grows with the square of its parts


def load(path: Path) -> dict[str, Any]:
    """The file's tables. UserError if it cannot be read, is not TOML, or would take much memory or time."""
    content = regular_file.read(path, MAX_BYTES)
    if any(line.count(b".") > MAX_DOTS for line in content.splitlines()):
        raise UserError(f"{path}: not TOML to be read: a line has more than {MAX_DOTS} dots")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise UserError(f"{path}: not TOML to be read: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path}: not TOML: {error}") from None


def key(*path: str) -> str:
    """A dotted key as TOML text."""
    import tomlkit  # only commands that write TOML

    return tomlkit.key([_encodable(part) for part in path]).as_string()


def value(item: object) -> str:
    """A text, boolean, number, list or mapping as TOML text on one line."""
    return _item(item).as_string()


def _item(item: object) -> Any:
    import tomlkit

    if isinstance(item, Mapping):
        table = tomlkit.inline_table()
        for name, inner in item.items():
            table.append(_encodable(name), _item(inner))
        return table
    if isinstance(item, list | tuple):
        array = tomlkit.array()
        for inner in item:
            array.append(_item(inner))
        return array
    return tomlkit.item(_encodable(item) if isinstance(item, str) else item)


def _encodable(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which TOML cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
