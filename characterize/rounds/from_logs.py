# SPDX-License-Identifier: Apache-2.0
"""Make a table of entries from the logs of public rounds.

    python -m characterize.rounds.from_logs results/hpc_results_v* --output entries.csv

Events after run_stop do not count. Results that a later round published again are left out. Entries whose device is
in no table of devices are reported and left out; describe the device with --devices FILE.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, pstdev

from characterize.devices.device_table import Device, known_devices, match_device
from characterize.results.result import CharacterizeError
from characterize.rounds.facts import SECONDS_PER_MINUTE, EntryFacts, write
from compliance import command_line
from compliance.checks import rules_for
from compliance.rulesets.ruleset import Benchmark, RuleSet
from compliance.run_log import RunLog
from compliance.scoring.convergence_comparison import epochs_to_converge
from compliance.scoring.phases import Phases, run_phases
from compliance.scoring.run_metrics import MS_PER_SECOND, converged, count, whole
from compliance.scoring.score import score_entry
from compliance.submissions import reader, rules_choice
from compliance.submissions.reader import Entry
from harness import cli

COMMENT = "Facts about public MLPerf HPC entries, made from their logs by python -m characterize.rounds.from_logs"


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One converged run."""

    phases: Phases
    epochs: float
    num_evaluations: int


def facts_of_rounds(
    folders: Iterable[Path], devices: tuple[Device, ...], known: Iterable[EntryFacts] = ()
) -> tuple[list[EntryFacts], list[str]]:
    """Facts of the known entries and of all entries in the folders, and for each entry left out the reason."""
    entries = list(known)
    left_out: list[str] = []
    for folder in folders:
        for facts in _round(folder, devices):
            if isinstance(facts, str):
                left_out.append(facts)
            elif any(_is_same_result(facts, entry) for entry in entries):
                left_out.append(f"{facts.label}: published before with the same logs")
            else:
                entries.append(facts)
    return entries, left_out


def _is_same_result(one: EntryFacts, other: EntryFacts) -> bool:
    return (one.benchmark, one.date, one.minutes, one.epochs) == (
        other.benchmark,
        other.date,
        other.minutes,
        other.epochs,
    )


def _round(folder: Path, devices: tuple[Device, ...]) -> Iterator[EntryFacts | str]:
    submission = reader.read(folder)
    rules = rules_choice.choose(submission).ruleset
    if not submission.entries:
        raise CharacterizeError(f"{folder}: found no results; expected a round, or the tree of one organization")
    for entry in submission.entries:
        limits = rules_for(entry, rules)
        if limits is None or limits.benchmark.num_epochs is not None:
            yield f"{entry.label}: {rules.name} has no time to train for this benchmark"
        else:
            yield _entry(entry, rules, limits.benchmark, score_entry(entry, limits).minutes, devices)


def _entry(
    entry: Entry, rules: RuleSet, benchmark: Benchmark, minutes: float | None, devices: tuple[Device, ...]
) -> EntryFacts | str:
    """Facts of one entry, or the reason why there are none."""
    logs = [log for log in entry.runs if converged(log, benchmark)]
    if minutes is None or not logs:
        return f"{entry.label}: no score"
    name = _device_name(entry)
    device = match_device(name, devices)
    if device is None:
        return f"{entry.label}: unknown device {name!r}; describe it with --devices FILE"
    counts = {key: count(logs[0], key) or 0 for key in ("global_batch_size", "train_samples", "eval_samples")}
    runs = [run for log in logs if (run := _run(log, benchmark, counts["train_samples"])) is not None]
    if not runs or not counts["global_batch_size"] or not num_ranks(entry):
        return f"{entry.label}: the logs do not state epochs, batch size, training samples or ranks"
    return EntryFacts(
        round=rules.name.rpartition("_")[2],
        organization=entry.org,
        system=entry.system,
        division=entry.division,
        benchmark=entry.benchmark,
        metric="throughput" if entry.scaling == "weak" else "time_to_train",
        date=_day(logs),
        device=device.name,
        num_ranks=num_ranks(entry),
        num_runs=len(runs),
        minutes=minutes,
        **counts,
        **_means(runs, counts["train_samples"], counts["eval_samples"]),
        **_first_epochs(logs[0]),
    )


def _run(log: RunLog, benchmark: Benchmark, train_samples: int) -> RunFacts | None:
    phases = run_phases(log)
    if phases is None or not train_samples:
        return None
    epochs = _epochs(log, benchmark, train_samples)
    evaluations = len(log.until_stop("eval_start"))
    return RunFacts(phases=phases, epochs=epochs, num_evaluations=evaluations) if epochs else None


def _epochs(log: RunLog, benchmark: Benchmark, train_samples: int) -> float:
    """Epochs begun before run_stop. OpenFold counts samples, which become epochs of its data set."""
    if benchmark.convergence_unit == "epochs":
        return len(log.until_stop("epoch_start"))
    return (epochs_to_converge(log, benchmark) or 0) / train_samples


def _means(runs: list[RunFacts], train_samples: int, eval_samples: int) -> dict[str, float]:
    training_s = SECONDS_PER_MINUTE * fmean(run.phases.training_minutes for run in runs)
    evaluation_s = SECONDS_PER_MINUTE * fmean(run.phases.evaluation_minutes for run in runs)
    epochs = [run.epochs for run in runs]
    evaluated = eval_samples * fmean(run.num_evaluations for run in runs)
    return {
        "epochs": fmean(epochs),
        "epochs_deviation": pstdev(epochs),
        "compute_minutes": fmean(run.phases.total_minutes - run.phases.staging_minutes for run in runs),
        "staging_minutes": fmean(run.phases.staging_minutes for run in runs),
        "training_samples_per_s": train_samples * fmean(epochs) / training_s if training_s else 0.0,
        "evaluation_samples_per_s": evaluated / evaluation_s if evaluation_s else 0.0,
    }


def _first_epochs(log: RunLog) -> dict[str, float]:
    """Seconds of the first two epochs of a run, which a measurement of minutes would give."""
    starts = [event.time_ms for event in log.until_stop("epoch_start")]
    if len(starts) < 3:
        return {"first_epoch_s": 0.0, "second_epoch_s": 0.0}
    first, second, third = starts[:3]
    return {"first_epoch_s": (second - first) / MS_PER_SECOND, "second_epoch_s": (third - second) / MS_PER_SECOND}


def _day(logs: Iterable[RunLog]) -> str:
    starts = [start.time_ms for log in logs if (start := log.first("run_start")) is not None]
    return datetime.fromtimestamp(min(starts) / MS_PER_SECOND, UTC).date().isoformat()


def num_ranks(entry: Entry) -> int:
    """Accelerators of one run, or its nodes if there are no accelerators; 0 if unknown.

    Logs state ranks, or nodes and accelerators; only if they do not is the system description used: some descriptions
    are of the whole system, and some logs count each accelerator as a node.
    """
    log = entry.runs[0]
    ranks, nodes = count(log, "number_of_ranks"), count(log, "number_of_nodes")
    per_node = whole(log.value("accelerators_per_node"))
    if ranks:
        return ranks
    if nodes and per_node is not None:
        return nodes * max(1, per_node)
    described = entry.description.values if entry.description else {}
    nodes = nodes or whole(described.get("number_of_nodes")) or 0
    return nodes * max(1, whole(described.get("accelerators_per_node")) or 0)


def _device_name(entry: Entry) -> str:
    described = entry.description.values if entry.description else {}
    accelerated = (whole(described.get("accelerators_per_node")) or 0) > 0
    return str(described.get("accelerator_model_name" if accelerated else "host_processor_model_name", ""))


def main(arguments: list[str] | None = None) -> int:
    parser = command_line.command("characterize.rounds.from_logs", __doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="ROUND", help="a round, or one organization's tree")
    parser.add_argument("--devices", type=Path, metavar="FILE", help="table of further devices")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="table to write, CSV")
    options = parser.parse_args(arguments)
    entries, left_out = facts_of_rounds(options.folders, known_devices(options.devices))
    write(options.output, entries, COMMENT)
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    print(f"{options.output}: {len(entries)} entries")
    return 0


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
