# SPDX-License-Identifier: Apache-2.0
"""I/O of a whole job from its Darshan log, as in table 9 of the MLPerf HPC paper. Needs pydarshan.

io = read(Path("job.darshan"))
io.bytes_read, io.read_bandwidth          # bytes, bytes per second and process while reading
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from characterize.results.result import CharacterizeError

MODULES = ("POSIX", "STDIO")
"""Interfaces below all others, so that no byte is counted twice."""


@dataclass(frozen=True, kw_only=True)
class JobIO:
    """Totals over all processes and files."""

    num_processes: int
    bytes_read: int
    bytes_written: int
    read_s: float
    """Time in reads, summed over processes."""
    write_s: float

    @property
    def read_bandwidth(self) -> float | None:
        """Bytes per second of a process while it reads; None if nothing was read."""
        return self.bytes_read / self.read_s if self.read_s else None

    def as_record(self) -> dict[str, Any]:
        return asdict(self) | {"read_bandwidth": self.read_bandwidth}


def read(path: Path) -> JobIO:
    """Read a log. CharacterizeError if pydarshan is missing or the file is no Darshan log."""
    try:
        from darshan import DarshanReport
    except ImportError:
        raise CharacterizeError("--darshan: the package darshan is not installed; pip install darshan") from None
    if not path.is_file():
        raise CharacterizeError(f"--darshan {path}: no such file")
    try:
        report = DarshanReport(str(path), read_all=False)
        tables = [_counters(report, module) for module in MODULES if module in report.modules]
        num_processes = int(report.metadata["job"]["nprocs"])
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        raise CharacterizeError(f"--darshan {path}: not a readable Darshan log: {error}") from error
    totals = {name: sum(table[name] for table in tables) for name in ("BYTES_READ", "BYTES_WRITTEN")}
    times = {name: sum(table[name] for table in tables) for name in ("F_READ_TIME", "F_WRITE_TIME")}
    return JobIO(
        num_processes=num_processes,
        bytes_read=int(totals["BYTES_READ"]),
        bytes_written=int(totals["BYTES_WRITTEN"]),
        read_s=float(times["F_READ_TIME"]),
        write_s=float(times["F_WRITE_TIME"]),
    )


def _counters(report: Any, module: str) -> dict[str, float]:
    """Sums over all records of a module, by counter without the module's name."""
    report.mod_read_all_records(module)
    frames = report.records[module].to_df()
    sums = {**frames["counters"].sum(numeric_only=True), **frames["fcounters"].sum(numeric_only=True)}
    return {str(name).removeprefix(f"{module}_"): float(value) for name, value in sums.items()}
