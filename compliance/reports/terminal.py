# SPDX-License-Identifier: Apache-2.0
"""Colour for text on a terminal; none in files, in pipes, or if NO_COLOR is set (no-color.org)."""

import os
from collections.abc import Callable
from typing import TextIO

Paint = Callable[[str, str], str]
"""(text, style) -> the text, with escape sequences or without."""
STYLES = {"error": "1;31", "warning": "33", "manual": "36", "waived": "32", "heading": "1"}


def plain(text: str, style: str) -> str:
    """No colour."""
    return text


def coloured(text: str, style: str) -> str:
    """Colour in the style of a severity, or of a heading."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def paint_for(stream: TextIO) -> Paint:
    """The way to paint text for a stream."""
    is_wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return coloured if is_wanted and stream.isatty() else plain
