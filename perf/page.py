# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md: a summary of all ratios, then a section per measurement with a table per machine.

write(Path("perf/results"), Path("docs/performance.md"))
"""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from compliance.files import atomic_write

HEAD = """# Performance

Written by `make bench`: every figure is measured against a named peer or the machine's own limit, in one run. A ratio
above 1 means that this project is faster. Earlier figures of other machines stay, with their dates.
"""
EQUAL = 0.05
"""Ratios this close to 1 count as equal; runs of the same code differ by as much."""
BUSY = 0.5
"""Load per core before a measurement above which other jobs were running."""
WIN, EQUALS, LOSE, DEPENDS = VERDICTS = ("win", "equal", "lose", "depends on the machine")

Record = Mapping


def write(records: Path, page: Path) -> None:
    """Write the page from all machines' records."""
    loaded = [json.loads(path.read_text()) for path in sorted(records.glob("*/*.json"))]
    atomic_write.write(page, as_markdown(loaded))


def as_markdown(records: Iterable[Record]) -> str:
    newest_first = sorted(records, key=lambda record: record["date"], reverse=True)
    sections: dict[str, list[Record]] = {}
    for record in sorted(newest_first, key=lambda record: record["title"]):
        sections.setdefault(record["title"], []).append(record)
    return "\n".join([HEAD, _summary(newest_first), *(_section(title, own) for title, own in sections.items())])


def verdict(ratios: Iterable[float]) -> str:
    """win, equal or lose if all machines agree."""
    found = {WIN if ratio > 1 + EQUAL else LOSE if ratio < 1 - EQUAL else EQUALS for ratio in ratios}
    return found.pop() if len(found) == 1 else DEPENDS


def table(record: Record) -> str:
    """One machine's figures."""
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    busy = f" Load before: {record['load_per_core']} per core; rates are lower bounds." if _was_busy(record) else ""
    lines = [
        f"{record['machine']}, {record['date']}; {versions}.{busy}",
        "",
        "| what | unit | ours | peer | ratio | of peak | note |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    return "\n".join([*lines, *map(_row, record["rows"])]) + "\n"


def _was_busy(record: Record) -> bool:
    """True if other jobs were running; earlier records do not state the load."""
    return (record.get("load_per_core") or 0.0) > BUSY


def _row(row: Mapping) -> str:
    peer = f"{row['peer']:.4g}" if row["peer"] is not None else ""
    ratio = f"**{row['ratio']:.3g}x**" if row["ratio"] is not None else ""
    share = f"{row['peak_share']:.0%}" if row["peak_share"] is not None else ""
    return f"| {row['what']} | {row['unit']} | {row['ours']:.4g} | {peer} | {ratio} | {share} | {row['note']} |"


def _section(title: str, records: Sequence[Record]) -> str:
    """The newest record states method and peer."""
    newest = records[0]
    text = textwrap.fill(f"{newest['method']} Peer: {newest['peer']}.", 120, break_on_hyphens=False)
    head = f"## {title}\n\n{text}\n"
    return "\n".join([head, *map(table, records)])


def _summary(records: Sequence[Record]) -> str:
    """Ratios of all rows by machine: where this project wins, is equal, and loses."""
    machines = list(dict.fromkeys(record["machine"] for record in records))
    ratios: dict[tuple[str, str], dict[str, float]] = {}
    for record in records:
        for row in record["rows"]:
            if row["ratio"] is not None:
                ratios.setdefault((record["title"], row["what"]), {})[record["machine"]] = row["ratio"]
    lines = [
        f"## Where it wins, is equal and loses\n\nEqual: within {EQUAL:.0%}. A dash: not measured on that machine.\n",
        f"| | measurement | {' | '.join(machines)} |",
        f"|---|---|{'---:|' * len(machines)}",
    ]
    ordered = sorted(ratios.items(), key=lambda item: (VERDICTS.index(verdict(item[1].values())), item[0]))
    for (title, what), own in ordered:
        cells = " | ".join(f"{own[name]:.3g}x" if name in own else "-" for name in machines)
        lines.append(f"| {verdict(own.values())} | {title.partition(':')[0]}: {what} | {cells} |")
    return "\n".join(lines) + "\n"
