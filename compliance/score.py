# SPDX-License-Identifier: Apache-2.0
"""Scores as pure functions: time to train drops the fastest and the slowest run, throughput spans all kept instances.

A run that did not converge may be the slowest one dropped; more than one makes a time-to-train entry invalid
(MLPerf HPC rules, "Benchmark results").
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from compliance.checks import limits_of
from compliance.findings import Limits
from compliance.mllog import RunLog
from compliance.ruleset import RuleSet
from compliance.runs import MS_PER_MINUTE, converged, run_minutes
from compliance.submission import Entry, Submission


@dataclass(frozen=True, kw_only=True)
class Score:
    """One entry's result; the fields are those of `score --format json`."""

    org: str
    """Folder name."""
    system: str
    """Folder name."""
    division: str
    benchmark: str
    metric: str
    """time_to_train, throughput or vflops."""
    runs: int
    """Scored logs; for throughput the kept instances."""
    unconverged: int
    dropped: tuple[str, ...] = ()
    """File names of the fastest and the slowest run."""
    minutes: float | None = None
    """None where the entry is invalid."""
    scale_factor: float = 1.0
    """Reference mean epochs / own mean epochs, where the run converged faster than the reference."""
    scaled_minutes: float | None = None
    valid: bool = False

    def as_json(self) -> dict:
        return asdict(self) | {"dropped": list(self.dropped)}


def score(submission: Submission, ruleset: RuleSet) -> list[Score]:
    """Scores of all entries whose benchmark the rule set knows."""
    scored = ((entry, limits_of(entry, ruleset)) for entry in submission.entries)
    return [score_entry(entry, limits) for entry, limits in scored if limits is not None]


def score_entry(entry: Entry, limits: Limits) -> Score:
    times = [_minutes_to_target(log, limits) for log in entry.runs]
    common = {
        "org": entry.org,
        "system": entry.system,
        "division": entry.division,
        "benchmark": entry.benchmark,
        "runs": len(times),
        "unconverged": times.count(math.inf),
    }
    if entry.scaling == "weak":
        minutes = throughput_minutes(entry.runs) if math.inf not in times else None
        enough = len(times) >= limits.benchmark.num_runs
        return _with_minutes(common | {"metric": "throughput"}, minutes if enough else None, ())
    names = [log.path.name for log in entry.runs]
    dropped = tuple(names[index] for index in _fastest_and_slowest(times)) if len(times) > 2 else ()
    enough = len(times) >= limits.benchmark.num_runs
    minutes = mean_without_extremes(times) if enough and common["unconverged"] <= 1 else None
    return _with_minutes(common | {"metric": "time_to_train"}, minutes, dropped)


def _with_minutes(common: dict, minutes: float | None, dropped: tuple[str, ...]) -> Score:
    return Score(**common, minutes=minutes, scaled_minutes=minutes, dropped=dropped, valid=minutes is not None)


def _minutes_to_target(log: RunLog, limits: Limits) -> float:
    """Minutes of a converged run, else infinity."""
    minutes = run_minutes(log)
    return minutes if minutes is not None and converged(log, limits.benchmark) else math.inf


def _fastest_and_slowest(times: Sequence[float]) -> tuple[int, int]:
    order = sorted(range(len(times)), key=times.__getitem__)
    return order[0], order[-1]


def mean_without_extremes(times: Sequence[float]) -> float | None:
    """Mean without the smallest and the largest; None below three values or where an infinite one remains."""
    kept = sorted(times)[1:-1]
    mean = math.fsum(kept) / len(kept) if kept else math.inf
    return mean if math.isfinite(mean) else None


def throughput_minutes(logs: Sequence[RunLog]) -> float | None:
    """Last run_stop - first run_start over the kept instances."""
    starts = [event.time_ms for log in logs for event in log.all("run_start")]
    stops = [event.time_ms for log in logs for event in log.all("run_stop")]
    return (max(stops) - min(starts)) / MS_PER_MINUTE if starts and stops else None
