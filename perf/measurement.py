# SPDX-License-Identifier: Apache-2.0
"""Measurement: the result of one perf module, as JSON and as a section of docs/performance.md."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from compliance.files import atomic_write
from compliance.files.errors import UserError


class NotMeasurable(UserError):
    """A tool or permission that a measurement needs is missing on this machine; the text names it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Our figure and the peer's on the same input in the same run."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    ratio: float | None = None
    """How many times better ours is; below 1 the peer wins. None if there is no peer."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Result of one perf module."""

    name: str
    """File name of the JSON without suffix."""
    title: str
    peer: str
    """Description of the peer."""
    method: str
    """Method of measurement, in a sentence or two."""
    rows: list[Row]
    versions: tuple[str, ...] = ("torch",)
    """Packages whose versions affect the figures."""
    machine: str = field(default_factory=lambda: machine())

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        record = asdict(self) | {"versions": {name: version(name) for name in self.versions}}
        atomic_write.write(folder / f"{self.name}.json", json.dumps(record, indent=2) + "\n")


def machine() -> str:
    """Core count and processor, such as '2 cores of Intel(R) Xeon(R) Processor'."""
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else platform.machine()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def as_markdown(record: dict) -> str:
    """Format a written record as a section of docs/performance.md."""
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    lines = [
        f"## {record['title']}",
        "",
        f"{record['method']} Peer: {record['peer']}. Machine: {record['machine']}; {versions}.",
        "",
        "| what | unit | ours | peer | ratio | note |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in record["rows"]:
        ratio = f"**{row['ratio']:.3g}x**" if row["ratio"] is not None else ""
        peer = f"{row['peer']:.4g}" if row["peer"] is not None else ""
        lines.append(f"| {row['what']} | {row['unit']} | {row['ours']:.4g} | {peer} | {ratio} | {row['note']} |")
    return "\n".join(lines) + "\n"
