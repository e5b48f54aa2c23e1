# SPDX-License-Identifier: Apache-2.0
"""Values and keys as TOML text; the standard library reads TOML and does not write it."""

import json
import re
from collections.abc import Mapping

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def key(*path: str) -> str:
    """A dotted key."""
    return ".".join(part if BARE_KEY.fullmatch(part) else _text(part) for part in path)


def value(item: object) -> str:
    """A value on one line: text, boolean, number, list or inline table."""
    if isinstance(item, str):
        return _text(item)
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, Mapping):
        inside = ", ".join(f"{key(name)} = {value(one)}" for name, one in item.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(item, list | tuple):
        return f"[{', '.join(map(value, item))}]"
    assert isinstance(item, int | float), type(item)
    return repr(item)


def _text(text: str) -> str:
    # JSON's escapes are TOML's; JSON alone leaves the delete character as it is. Half a surrogate pair is no text.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
