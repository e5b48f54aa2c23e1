# SPDX-License-Identifier: Apache-2.0
"""Table: rows for the terminal and for the report page, and numbers with readable units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

MISSING = "-"
"""Shown in place of a missing number."""
PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of a result."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    note: str = ""
    """Source and limits of the figures."""
    num_left: int = 1
    """Number of leading text columns; the other columns are numbers, aligned to the right."""


def show(table: Table, console: Console) -> None:
    """Print a table."""
    drawn = RichTable(box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if index < table.num_left else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*row)
    console.print(Text(table.title, style="bold"))
    console.print(drawn, highlight=False, markup=False)
    console.print(Text(table.note, style="dim"), end="\n\n" if table.note else "\n")


def quantity(value: float | None, unit: str = "") -> str:
    """Three digits with a prefix: 1.35 GB/s from 1.35e9 and B/s; a dash for None."""
    if value is None or not math.isfinite(value):
        return MISSING
    for factor, prefix in PREFIXES:
        if abs(value) >= 0.9995 * factor:  # a value that rounds to 1000 of the smaller unit uses the larger one
            return f"{three_digits(value / factor)} {prefix}{unit}".rstrip()
    return f"{three_digits(value)} {unit}".rstrip()


def three_digits(value: float) -> str:
    """Format with at least three significant digits: 1.35, 13.5, 135, 1350."""
    magnitude = abs(value)
    digits = 0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2 if magnitude >= 0.0995 else 3
    return f"{value:.{digits}f}"


def seconds(value: float | None) -> str:
    """Format a time in s, ms or µs."""
    if value is None or value == 0:
        return MISSING if value is None else "0 s"
    for factor, unit in ((1.0, "s"), (1e-3, "ms")):
        if value >= factor:
            return f"{three_digits(value / factor)} {unit}"
    return f"{three_digits(value / 1e-6)} µs"


def size(num_bytes: float) -> str:
    """Format bytes with binary prefixes: 64 MiB."""
    for factor, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes:.0f} B"


def percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.0f} %"
