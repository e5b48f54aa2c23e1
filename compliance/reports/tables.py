# SPDX-License-Identifier: Apache-2.0
"""Rows as aligned text, CSV or Markdown.

Logs and folder names are untrusted data: control characters are escaped, and so are characters that have a meaning in
Markdown or make a spreadsheet evaluate a formula.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

MARKDOWN_SPECIAL = re.compile(r"([\\`*\[\]<>|])")
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?( \N{PLUS-MINUS SIGN} [\d.]+)?( %)?")


def printable(text: str) -> str:
    """The text with all characters escaped that could move a cursor or hide text on a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text. The first row is the heading, with a line under it; numbers are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines) + "\n"


def _padded(cell: str, width: int) -> str:
    return cell.rjust(width) if NUMBER.fullmatch(cell) else cell.ljust(width)


def comma_separated(records: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """CSV with the given columns first, then all others of the records; missing cells are empty."""
    columns = list(dict.fromkeys((*columns, *(key for record in records for key in record))))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(record.get(column)) for column in columns] for record in records)
    return file.getvalue()


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    text = printable(" ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    is_formula = isinstance(value, str) and text.startswith(("=", "+", "-", "@"))
    return f"'{text}" if is_formula else text


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *(map(markdown_cell, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown_cell(value: object) -> str:
    return MARKDOWN_SPECIAL.sub(r"\\\1", printable(str(value).strip().replace("\n", "; ")))
