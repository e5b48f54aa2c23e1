# SPDX-License-Identifier: Apache-2.0
"""Reading and writing TOML.

Reading is for files that others have written: whatever they hold, it takes little memory and linear time. Writing gives
keys and values as text, since the standard library only reads TOML.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20
MAX_DOTS = 256  # in a line; the time that tomllib takes for a dotted key grows with the square of its parts


def load(path: Path) -> dict[str, Any]:
    """The file's tables. OSError where it cannot be read, ValueError where it is no TOML, or TOML to choke on."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
    if any(line.count(b".") > MAX_DOTS for line in content.splitlines()):
        raise ValueError(f"a line with more than {MAX_DOTS} dots")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


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
