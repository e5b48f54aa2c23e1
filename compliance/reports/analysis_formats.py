# SPDX-License-Identifier: Apache-2.0
"""Tables and figures of an analysis as text, CSV, JSON, PNG, SVG and one self-contained page.

files(analysis)["table_4_scores.csv"], text(analysis.tables)
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from compliance.analysis.table import Table
from compliance.reports.tables import aligned, comma_separated, printable

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure in both formats."""

    title: str
    svg: bytes
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Everything that `analyze` or `compare` says."""

    title: str
    rules: str
    """Rule sets, and the reasons for them."""
    tables: Sequence[Table]
    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    """By file name without ending."""


def text(tables: Sequence[Table]) -> str:
    """All tables for a terminal, each with its notes."""
    parts = []
    for table in tables:
        rows = aligned([tuple(map(printable, row)) for row in table.cells()])
        notes = "".join(f"  {note}\n" for note in table.notes)
        parts.append(f"{table.title}\n{rows}{notes}")
    return "\n".join(parts)


def files(analysis: Analysis) -> dict[str, bytes]:
    """Content by file name; the page comes last."""
    made = {f"{table.name}.csv": comma_separated(table.records(), []).encode() for table in analysis.tables}
    for name, drawing in analysis.drawings.items():
        made |= {f"{name}.svg": drawing.svg, f"{name}.png": drawing.png}
    made["analysis.json"] = (json.dumps(as_json(analysis), indent=1) + "\n").encode()
    return made | {"index.html": page(analysis).encode("utf-8", "backslashreplace")}


def as_json(analysis: Analysis) -> dict:
    tables = {
        table.name: {"title": table.title, "notes": list(table.notes), "rows": table.records()}
        for table in analysis.tables
    }
    return {"schema": 1, "title": analysis.title, "rules": analysis.rules, "tables": tables}


def page(analysis: Analysis) -> str:
    """One HTML file that loads nothing."""
    environment = Environment(
        loader=PackageLoader("compliance.reports", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader = environment.loader
    assert loader is not None
    style = Markup(loader.get_source(environment, "report.css")[0])
    environment.filters["data_address"] = _data_address
    return environment.get_template("analysis.html").render(analysis=analysis, style=style, policy=POLICY)


def _data_address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
