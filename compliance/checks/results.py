# SPDX-License-Identifier: Apache-2.0
"""R: an entry's runs: their number, how many converged, and whether each is a run of its own."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.run_log import RunLog
from compliance.scoring.run_metrics import converged, status_of, whole
from compliance.submissions.reader import RESULT_NAME, Entry, Organization


@rule("R101")
def enough_runs(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """An entry has as many runs, or concurrent instances, as the rules require.

    Why: time to train varies from seed to seed; the mean of fewer runs depends more on luck.
    Example: 9 result files for cosmoflow, which needs 10.
    Fix: run again with another seed. Training must not be repeated until it is fast.
    """
    required = limits.benchmark.num_runs
    if len(entry.runs) < required and not entry.is_single_log:
        origin = limits.ruleset.origin("benchmarks", limits.benchmark.name, "num_runs")
        what = "instances kept" if entry.scaling == "weak" else "runs"
        message = f"{len(entry.runs)} {what} of {limits.benchmark.name}"
        yield Fault(entry.folder, message, 0, f"at least {required} ({origin})", str(len(entry.runs)))


@rule("R102")
def no_runs_to_choose_from(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A time-to-train entry of MLPerf HPC has exactly the required number of runs.

    Why: from more runs a submitter could choose the fast ones.
    Example: 7 result files for deepcam, which needs 5.
    Fix: submit one window of consecutive runs, and say in the README which window of how many runs it is.
    """
    required, suite = limits.benchmark.num_runs, limits.benchmark.suite
    if entry.scaling == "strong" and suite == "mlperf_hpc" and len(entry.runs) > required:
        origin = limits.ruleset.origin("benchmarks", limits.benchmark.name, "num_runs")
        message = f"{len(entry.runs)} runs of {limits.benchmark.name}"
        yield Fault(entry.folder, message, 0, f"exactly {required} ({origin})", str(len(entry.runs)))


def _unconverged(logs: tuple[RunLog, ...], entry: Entry, limits: EntryRules) -> list[RunLog]:
    """Logs of an entry that trains to the target, but did not reach it."""
    if limits.benchmark.num_epochs is not None or entry.is_single_log:
        return []
    return [log for log in logs if not converged(log, limits.benchmark)]


@rule("R103")
def at_most_one_run_is_unconverged(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """At most one run of a time-to-train entry misses the target.

    Why: one may be the slowest run, which is dropped; with two there is no time to train.
    Example: two of ten runs aborted at an eval_error of 0.127.
    Fix: choose hyperparameters that converge, and repeat all runs.
    """
    missed = _unconverged(entry.runs, entry, limits) if entry.scaling == "strong" else []
    if len(missed) > 1:
        names = ", ".join(log.path.name for log in missed[:5]) + (", ..." if len(missed) > 5 else "")
        message = f"{len(missed)} runs did not reach the target: {names}"
        yield Fault(entry.folder, message, 0, "at most 1", str(len(missed)))


@rule("R104", severity="warning")
def unconverged_run_is_dropped(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A single run that missed the target is dropped as the slowest one.

    Why: the score is then the mean of the other runs without the fastest, and a reader should know.
    Example: one of ten runs ends at an eval_error of 0.1246, target 0.124.
    Fix: none is required; a second run that misses the target would invalidate the entry.
    """
    missed = _unconverged(entry.runs, entry, limits) if entry.scaling == "strong" else []
    if len(missed) == 1:
        yield Fault(missed[0].path, "did not reach the target; dropped as the slowest run")


@rule("R105")
def kept_instances_converged(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Every instance that a throughput entry keeps reached the target.

    Why: throughput counts trained models.
    Example: result_17.txt of a weak entry with status aborted.
    Fix: repeat the entry with hyperparameters that converge. Pruned instances have to converge, too.
    """
    if entry.scaling == "weak":
        for log in _unconverged(entry.runs, entry, limits):
            yield Fault(log.path, "a kept instance did not reach the target", expected="a converged run")


@rule("R106")
def seeds_differ(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The runs of an entry have different seeds, if seeds are logged; in Open, equal seeds are a warning (R113).

    Why: runs with equal seeds are one sample of the time to train, not several.
    Example: five deepcam runs, all with seed 333.
    Fix: draw a seed for each run; of concurrent instances with equal seeds, prune all but one.
    """
    if limits.division != "open":
        yield from _equal_seeds(entry)


def _equal_seeds(entry: Entry) -> Iterator[Fault]:
    first: dict[object, RunLog] = {}
    for log in entry.runs:
        event = log.first("seed")
        if event is None or not isinstance(event.value, int | float | str):
            continue
        number = whole(event.value)
        other = first.setdefault(event.value if number is None else number, log)
        if other is not log:
            message = f"seed is that of {other.path.name}"
            yield Fault(log.path, message, event.line, "a seed of its own", f"{event.value!r:.60}")


@rule("R107", severity="warning")
def results_are_numbered(entry: Entry) -> Iterator[Fault]:
    """Result files are numbered without gaps: result_0.txt, result_1.txt, ... (or from 1).

    Why: a gap may be a run that was left out. The numbers of pruned instances are in pruned_results.
    Example: result_0, result_1, result_3.
    Fix: number the files in the order of the runs, without leaving one out.
    """
    if entry.is_single_log:
        return
    names = [match for log in entry.logs if (match := RESULT_NAME.fullmatch(log.path.name)) is not None]
    numbers = sorted(int(match.group(1)) for match in names)
    for before, number in pairwise(numbers):
        if number != before + 1:
            found = "appears twice" if number == before else f"is followed by result_{number}.txt"
            yield Fault(entry.folder, f"result_{before}.txt {found}", 0, f"result_{before + 1}.txt next")
            return
    if numbers and numbers[0] > 1:
        yield Fault(entry.folder, f"the first file is result_{numbers[0]}.txt", 0, "result_0.txt or result_1.txt")


@rule("R110")
def nothing_is_pruned_from_time_to_train(entry: Entry) -> Iterator[Fault]:
    """Only throughput results have a folder pruned_results.

    Why: leaving out a run of a time-to-train entry is choosing the fast ones.
    Example: results/<system>/strong/deepcam/pruned_results/result_5.txt.
    Fix: move the log back; with more runs than needed, say which window counts.
    """
    if entry.scaling == "strong" and entry.pruned:
        yield Fault(entry.folder / "pruned_results", f"{len(entry.pruned)} runs pruned", 0, "none in time to train")


@rule("R111", severity="warning")
def throughput_comes_with_time_to_train(organization: Organization) -> Iterator[Fault]:
    """A throughput entry comes with a time-to-train entry of the same benchmark and organization.

    Why: the rules require both; only a result that is reused from an earlier round may come alone.
    Example: weak/oc20 without any strong/oc20.
    Fix: submit the time-to-train runs, or say which earlier result is reused.
    """
    timed = {entry.benchmark for entry in organization.entries if entry.scaling == "strong"}
    for entry in organization.entries:
        if entry.scaling == "weak" and entry.benchmark not in timed:
            yield Fault(entry.folder, f"no time-to-train entry of {entry.benchmark}", 0, "one in strong/")


@rule("R112")
def pruned_instances_converged(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Every pruned instance that ended reached the target.

    Why: the rules require pruned logs to be compliant, which includes the target.
    Example: pruned_results/result_5.txt with status aborted at an eval_accuracy of 0.61.
    Fix: repeat the entry with hyperparameters that converge; pruning is for slow instances and equal seeds.
    """
    for log in _unconverged(entry.pruned, entry, limits):
        if log.last("run_stop") is not None and status_of(log) != "success":  # L104 and Q101 report the others
            yield Fault(log.path, "a pruned instance did not reach the target", expected="a converged run")


@rule("R113", severity="warning")
def seeds_differ_in_open(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The runs of an Open entry have different seeds, if seeds are logged.

    Why: the rules do not refuse equal seeds in Open, but runs that share a seed are one sample, not several.
    Example: ten runs, all with seed 7.
    Fix: draw a seed for each run.
    """
    if limits.division == "open":
        yield from _equal_seeds(entry)


@rule("R114", severity="warning")
def seeds_are_logged_in_all_runs(entry: Entry) -> Iterator[Fault]:
    """Either every run of an entry logs its seed, or none does.

    Why: a seed that one run does not log may be the seed of another run.
    Example: seed in nine of ten logs.
    Fix: log the seed of every run; submit the log as the run wrote it.
    """
    without = [log for log in entry.runs if log.events and log.first("seed") is None]
    if 0 < len(without) < len(entry.runs):
        message = f"no seed, in {len(without)} of {len(entry.runs)} logs"
        yield Fault(without[0].path, message, expected="a seed, as in the other logs")


@rule("R901", severity="manual")
def runs_are_not_chosen(entry: Entry) -> Iterator[Fault]:
    """The runs are all that were started, or one window of consecutive ones.

    Why: a submitter who repeats training until it is fast reports luck. A log cannot prove that no other run exists.
    Example: ten result files out of thirty runs.
    Fix: ask for the job history if the epochs or the times vary suspiciously little.
    """
    if not entry.is_single_log:
        counts = Counter(log.path.parent.name == "pruned_results" for log in entry.logs)
        yield Fault(entry.folder, f"check by hand that no more than these {counts[False]} runs were started")
