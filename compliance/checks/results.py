# SPDX-License-Identifier: Apache-2.0
"""R: an entry's runs, how many there are, how many converged, and whether each is a run of its own."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.mllog import RunLog
from compliance.scoring.run_metrics import converged
from compliance.submissions.reader import RESULT_NAME, Entry, Organization


@rule("R101")
def enough_runs(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """An entry has as many runs, or concurrent instances, as the rules ask for.

    Why: time to train varies from seed to seed; fewer runs are a luckier mean.
    Example: 9 result files for cosmoflow, which needs 10.
    Fix: run again with another seed. Training may not be repeated until it is fast.
    """
    required = limits.benchmark.num_runs
    if len(entry.runs) < required and not entry.is_single_log:
        origin = limits.ruleset.origin("benchmarks", limits.benchmark.name, "num_runs")
        what = "instances kept" if entry.scaling == "weak" else "runs"
        message = f"{len(entry.runs)} {what} of {limits.benchmark.name}"
        yield Fault(entry.folder, message, 0, f"at least {required} ({origin})", str(len(entry.runs)))


@rule("R102", severity="warning")
def no_runs_to_choose_from(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A time-to-train entry has no more runs than the rules ask for.

    Why: of more runs a submitter could leave out the slow ones. Which window of consecutive runs counts has to be said.
    Example: 14 result files for deepcam, which needs 5.
    Fix: submit the runs of one window, and say in the README which of how many it is.
    """
    required, suite = limits.benchmark.num_runs, limits.benchmark.suite
    if entry.scaling == "strong" and suite == "mlperf_hpc" and len(entry.runs) > required:
        message = f"{len(entry.runs)} runs, and nothing says which window of them counts"
        yield Fault(entry.folder, message, 0, f"{required}", str(len(entry.runs)))


def _unconverged(entry: Entry, limits: EntryRules) -> list[RunLog]:
    """Kept runs of an entry that trains to the target, and did not reach it."""
    if limits.benchmark.num_epochs is not None or entry.is_single_log:
        return []
    return [log for log in entry.runs if not converged(log, limits.benchmark)]


@rule("R103")
def at_most_one_run_is_unconverged(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """At most one run of a time-to-train entry misses the target.

    Why: one may be the slowest run, which is dropped; with two there is no time to train.
    Example: two of ten runs aborted at an eval_error of 0.127.
    Fix: choose hyperparameters that converge, and run all runs again.
    """
    missed = _unconverged(entry, limits) if entry.scaling == "strong" else []
    if len(missed) > 1:
        names = ", ".join(log.path.name for log in missed[:5]) + (", ..." if len(missed) > 5 else "")
        message = f"{len(missed)} runs did not reach the target: {names}"
        yield Fault(entry.folder, message, 0, "at most 1", str(len(missed)))


@rule("R104", severity="warning")
def unconverged_run_is_dropped(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A single run that missed the target is dropped as the slowest one.

    Why: the score then rests on the other runs without the fastest; a reader should know.
    Example: one of ten runs ends at an eval_error of 0.1246, target 0.124.
    Fix: nothing has to be done; another missed run would invalidate the entry.
    """
    missed = _unconverged(entry, limits) if entry.scaling == "strong" else []
    if len(missed) == 1:
        yield Fault(missed[0].path, "did not reach the target; dropped as the slowest run")


@rule("R105")
def kept_instances_converged(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Every instance that a throughput entry keeps reached the target.

    Why: throughput counts trained models; one that was not trained belongs into pruned_results.
    Example: result_17.txt of a weak entry with status aborted.
    Fix: move the instance's log to pruned_results/.
    """
    if entry.scaling == "weak":
        for log in _unconverged(entry, limits):
            yield Fault(log.path, "a kept instance did not reach the target", expected="in pruned_results")


@rule("R106")
def seeds_differ(entry: Entry) -> Iterator[Fault]:
    """The runs of an entry have different seeds, where seeds are logged.

    Why: runs with equal seeds are one sample of the time to train, not several.
    Example: five deepcam runs, all with seed 333.
    Fix: draw a seed for each run; of concurrent instances with equal seeds, prune all but one.
    """
    first: dict[object, RunLog] = {}
    for log in entry.runs:
        event = log.first("seed")
        if event is None or not isinstance(event.value, int | float | str):
            continue
        other = first.setdefault(event.value, log)
        if other is not log:
            message = f"seed is that of {other.path.name}"
            yield Fault(log.path, message, event.line, "a seed of its own", f"{event.value!r:.60}")


@rule("R107", severity="warning")
def results_are_numbered(entry: Entry) -> Iterator[Fault]:
    """Result files are numbered without gaps: result_0.txt, result_1.txt, ... (a start at 1 is as good).

    Why: a gap may be a run that was left out. Of throughput instances the missing ones lie in pruned_results.
    Example: result_0, result_1, result_3.
    Fix: number the files in the order of the runs; leave out none.
    """
    if entry.is_single_log:
        return
    numbers = sorted(int(RESULT_NAME.fullmatch(log.path.name).group(1)) for log in entry.logs)
    for before, number in pairwise(numbers):
        if number != before + 1:
            found = "twice" if number == before else f"before result_{number}.txt"
            yield Fault(entry.folder, f"result_{before}.txt stands {found}", 0, f"result_{before + 1}.txt next")
            return
    if numbers and numbers[0] > 1:
        yield Fault(entry.folder, f"the first file is result_{numbers[0]}.txt", 0, "result_0.txt or result_1.txt")


@rule("R110")
def nothing_is_pruned_from_time_to_train(entry: Entry) -> Iterator[Fault]:
    """pruned_results stands only beside throughput results.

    Why: leaving out a run of a time-to-train entry is choosing the fast ones.
    Example: results/<system>/strong/deepcam/pruned_results/result_5.txt.
    Fix: move the log back; with more runs than needed, say which window counts.
    """
    if entry.scaling == "strong" and entry.pruned:
        yield Fault(entry.folder / "pruned_results", f"{len(entry.pruned)} runs pruned", 0, "none in time to train")


@rule("R111", severity="warning")
def throughput_comes_with_time_to_train(organization: Organization) -> Iterator[Fault]:
    """A throughput entry comes with a time-to-train entry of the same benchmark and organization.

    Why: the rules ask for both; only a result that is re-used from an earlier round may come alone.
    Example: weak/oc20 without any strong/oc20.
    Fix: submit the time-to-train runs, or say which earlier result is re-used.
    """
    timed = {entry.benchmark for entry in organization.entries if entry.scaling == "strong"}
    for entry in organization.entries:
        if entry.scaling == "weak" and entry.benchmark not in timed:
            yield Fault(entry.folder, f"no time-to-train entry of {entry.benchmark}", 0, "one in strong/")


@rule("R901", severity="manual")
def runs_are_not_chosen(entry: Entry) -> Iterator[Fault]:
    """The runs are all that were started, or one window of consecutive ones.

    Why: a submitter who repeats training until it is fast reports luck. No log proves what was not submitted.
    Example: ten result files out of thirty runs.
    Fix: a reviewer asks for the job history where the epochs or the times spread suspiciously little.
    """
    if not entry.is_single_log:
        counts = Counter(log.path.parent.name == "pruned_results" for log in entry.logs)
        yield Fault(entry.folder, f"not provable from logs: the {counts[False]} runs are all that were started")
