# SPDX-License-Identifier: Apache-2.0
"""Scores as pure functions: time to train drops the fastest and the slowest run, throughput spans all kept instances.

One run that did not converge is dropped as the slowest; with more than one, a time-to-train entry has no score
(MLPerf HPC rules, "Benchmark results"). vflops.py scores HPC AI500's fixed number of epochs.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from compliance.checks import rules_for
from compliance.checks.registry import EntryRules
from compliance.rulesets.ruleset import RuleSet
from compliance.run_log import RunLog
from compliance.scoring.convergence_comparison import compare
from compliance.scoring.reference_convergence import mean_without_extremes
from compliance.scoring.run_metrics import MS_PER_MINUTE, converged, count, run_minutes
from compliance.scoring.vflops import Vflops, summarize, trial
from compliance.submissions.reader import Entry, Submission


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """(T, S, M', time for all) of an entry that trains many instances at once; the time is the score's minutes."""

    total_scale: int | None
    """T: accelerators of all instances, or nodes if there are no accelerators."""
    instance_scale: int | None
    """S: accelerators or nodes of one instance; None if the logs do not give it or differ."""
    num_kept: int
    """M': instances that are scored."""
    num_pruned: int
    """Instances in pruned_results/."""


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
    """Runs that missed the target; with a fixed number of epochs, incomplete runs."""
    dropped: tuple[str, ...] = ()
    """File names of the fastest and the slowest run; for vflops of the highest and the lowest."""
    minutes: float | None = None
    """None if no score can be computed."""
    scale_factor: float = 1.0
    """Reference mean epochs / own mean epochs if the entry converged in fewer epochs than the reference."""
    scaled_minutes: float | None = None
    scored: bool = False
    """True if a number could be computed; the verdict of `check` may be that the entry is refused."""
    reference: str = ""
    """Own epochs and the reference's, with the convergence point that was used; empty if none applies."""
    throughput: Throughput | None = None
    vflops: Vflops | None = None

    @property
    def result(self) -> float | None:
        """The figure that ranks entries: scaled minutes, models per minute, or VFLOPS; None without a score."""
        if not self.scored or not self.minutes:
            return None
        if self.metric == "throughput":
            return self.runs / self.minutes
        return self.vflops.vflops if self.vflops is not None else self.scaled_minutes

    def as_json(self) -> dict:
        return asdict(self) | {"dropped": list(self.dropped)}


def score(submission: Submission, ruleset: RuleSet) -> list[Score]:
    """Scores of all entries whose benchmark the rule set knows."""
    scored = ((entry, rules_for(entry, ruleset)) for entry in submission.entries)
    return ranked([score_entry(entry, limits) for entry, limits in scored if limits is not None])


def ranked(scores: Sequence[Score]) -> list[Score]:
    """The same scores; those in VFLOPS have their rank within the benchmark and level."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for score in scores:
        if score.vflops is not None and score.scored:
            groups[score.benchmark, score.division].append(score.vflops.vflops)
    return [_with_rank(score, groups[score.benchmark, score.division]) for score in scores]


def _with_rank(score: Score, rivals: Sequence[float]) -> Score:
    if score.vflops is None or not score.scored:
        return score
    rank = 1 + sum(rival > score.vflops.vflops for rival in rivals)
    return replace(score, vflops=replace(score.vflops, rank=rank))


def score_entry(entry: Entry, limits: EntryRules) -> Score:
    if limits.benchmark.num_epochs is not None:
        return _in_vflops(entry, limits)
    return _in_throughput(entry, limits) if entry.scaling == "weak" else _in_time_to_train(entry, limits)


def _in_time_to_train(entry: Entry, limits: EntryRules) -> Score:
    times = [_minutes_to_target(log, limits) for log in entry.runs]
    unconverged = times.count(math.inf)
    names = [log.path.name for log in entry.runs]
    dropped = tuple(names[index] for index in _fastest_and_slowest(times)) if len(times) > 2 else ()
    enough = len(times) >= limits.benchmark.num_runs
    minutes = mean_without_extremes(times) if enough and unconverged <= 1 else None
    comparison = compare(entry, limits)
    factor = comparison.scale_factor if comparison else 1.0
    return Score(
        **_common(entry, "time_to_train", unconverged),
        dropped=dropped,
        minutes=minutes,
        scale_factor=factor,
        scaled_minutes=None if minutes is None else minutes * factor,
        scored=minutes is not None,
        reference=comparison.describe() if comparison else "",
    )


def _in_throughput(entry: Entry, limits: EntryRules) -> Score:
    """The score of concurrent instances; convergence never scales it, as in the published rounds."""
    unconverged = [_minutes_to_target(log, limits) for log in entry.runs].count(math.inf)
    enough = len(entry.runs) >= limits.benchmark.num_runs
    minutes = throughput_minutes(entry.runs) if enough and not unconverged else None
    comparison = compare(entry, limits)
    return Score(
        **_common(entry, "throughput", unconverged),
        minutes=minutes,
        scaled_minutes=minutes,
        scored=minutes is not None,
        reference=comparison.describe() if comparison else "",
        throughput=throughput(entry),
    )


def _in_vflops(entry: Entry, limits: EntryRules) -> Score:
    trials = [complete for log in entry.runs if (complete := trial(log, limits.benchmark)) is not None]
    enough = len(trials) >= limits.benchmark.num_runs
    summary = summarize(trials)
    minutes = summary.minutes if summary and enough else None
    return Score(
        **_common(entry, "vflops", len(entry.runs) - len(trials)),
        dropped=summary.dropped if summary else (),
        minutes=minutes,
        scaled_minutes=minutes,
        scored=minutes is not None,
        vflops=summary,
    )


def _common(entry: Entry, metric: str, unconverged: int) -> dict:
    return {
        "org": entry.org,
        "system": entry.system,
        "division": entry.division,
        "benchmark": entry.benchmark,
        "metric": metric,
        "runs": len(entry.runs),
        "unconverged": unconverged,
    }


def _minutes_to_target(log: RunLog, limits: EntryRules) -> float:
    """Minutes of a converged run, otherwise infinity."""
    minutes = run_minutes(log)
    return minutes if minutes is not None and converged(log, limits.benchmark) else math.inf


def _fastest_and_slowest(times: Sequence[float]) -> tuple[int, int]:
    order = sorted(range(len(times)), key=times.__getitem__)
    return order[0], order[-1]


def throughput_minutes(logs: Sequence[RunLog]) -> float | None:
    """Minutes from the first run_start to the last run_stop of the kept instances; None if one has no valid times."""
    if not logs or any(run_minutes(log) is None for log in logs):
        return None
    starts = [event.time_ms for log in logs for event in log.all("run_start")]
    stops = [event.time_ms for log in logs for event in log.all("run_stop")]
    return (max(stops) - min(starts)) / MS_PER_MINUTE


def throughput(entry: Entry) -> Throughput:
    """Scales of the entry; T includes the pruned instances, which ran at the same time as the kept ones."""
    scales = {_instance_scale(log) for log in entry.logs}
    scale = scales.pop() if len(scales) == 1 else None
    return Throughput(
        total_scale=None if scale is None else scale * len(entry.logs),
        instance_scale=scale,
        num_kept=len(entry.runs),
        num_pruned=len(entry.pruned),
    )


def _instance_scale(log: RunLog) -> int | None:
    """Number of ranks; without it, nodes x accelerators, which some logs give for the whole system."""
    ranks, nodes = count(log, "number_of_ranks"), count(log, "number_of_nodes")
    if ranks is not None or nodes is None:
        return ranks
    return nodes * (count(log, "accelerators_per_node") or 1)
