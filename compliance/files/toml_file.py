# SPDX-License-Identifier: Apache-2.0
"""TOML files that others have written: whatever stands in them, reading takes little memory and linear time."""

import tomllib
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
