# SPDX-License-Identifier: Apache-2.0
"""Table: columns and rows of numbers, before they become text, CSV or JSON.

table = Table(name="scores", title="Scores", columns=(Column(key="minutes", heading="minutes"),), rows=[...])
table.cells()                # text, for terminals and pages
table.records()              # numbers, for CSV and JSON
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compliance.analysis.spread import Spread

Cell = Spread | float | int | str | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column."""

    key: str
    """Name in CSV and JSON."""
    heading: str = ""
    """Words for people; empty for a column that only CSV and JSON have."""
    digits: int = 2
    """Decimals of numbers."""
    percent: bool = False
    """Shares are shown in percent."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the analysis."""

    name: str
    """File name without ending."""
    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    notes: Sequence[str] = field(default=())
    """Definitions of the columns."""

    def cells(self) -> list[tuple[str, ...]]:
        """Headings and rows as text, without columns that have no value."""
        used = [column for column in self.columns if column.heading and self._has_values(column)]
        return [
            tuple(column.heading for column in used),
            *(tuple(shown(row.get(column.key), column) for column in used) for row in self.rows),
        ]

    def numeric_columns(self) -> list[bool]:
        """For each column of `cells`, whether all its cells are numbers, with a unit or a deviation, or empty."""
        _, *rows = self.cells()
        return [all(cell[:1] in ("", "-", *"0123456789") for cell in column) for column in zip(*rows, strict=True)]

    def records(self) -> list[dict[str, Any]]:
        """Rows with all columns; a spread has its deviation in a column of its own."""
        records = []
        for row in self.rows:
            record: dict[str, Any] = {}
            for column in self.columns:
                value = row.get(column.key)
                record[column.key] = value.mean if isinstance(value, Spread) else value
                if isinstance(value, Spread):
                    record[f"{column.key}_deviation"] = value.deviation
            records.append(record)
        return records

    def _has_values(self, column: Column) -> bool:
        return any(row.get(column.key) not in (None, "") for row in self.rows)


def shown(value: Cell, column: Column) -> str:
    """A cell as text: a spread as mean ± deviation."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Spread):
        return f"{_number(value.mean, column)} ± {_deviation(value.deviation, column.digits)}"
    return _number(value, column)


def _number(value: float, column: Column) -> str:
    if column.percent:
        return f"{100 * value:.{column.digits}f} %"
    return str(value) if isinstance(value, int) else f"{value:.{column.digits}f}"


def _deviation(value: float, digits: int) -> str:
    """As many decimals as the mean has, and up to two more if it would read as zero."""
    if value > 0 and round(value, digits) == 0:
        digits = min(digits + 2, -math.floor(math.log10(value)))
    return f"{value:.{digits}f}"
