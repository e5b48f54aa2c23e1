# SPDX-License-Identifier: Apache-2.0
"""Q: evaluations. Whether the target was met, when, and whether every epoch was evaluated."""

from collections.abc import Iterator

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown
from compliance.mllog import RunLog
from compliance.scoring.run_metrics import best_evaluation, epoch_of, first_on_target, status_of
from compliance.submissions.reader import Entry

STATUSES = ("success", "aborted")


def _target(limits: EntryRules) -> str:
    """'at most 0.124 (mlperf_hpc_0.7.toml)'."""
    origin = limits.ruleset.origin("benchmarks", limits.benchmark.name, "target")
    return f"{limits.benchmark.target.describe()} ({origin})"


@rule("Q101")
def success_met_the_target(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A run that says `success` has a logged evaluation that meets the target.

    Why: the evaluations decide, not the word at the end.
    Example: status success after a last eval_error of 0.1246, target 0.124.
    Fix: train until an evaluation meets the target; log aborted where it was not met.
    """
    if limits.benchmark.num_epochs is not None or status_of(log) != "success":
        return
    if first_on_target(log, limits.benchmark) is None:
        best, last = best_evaluation(log, limits.benchmark), log.last(limits.benchmark.quality_key)
        found = "none" if best is None else f"{best.value:.6g}"
        message = f"run_stop says success; {limits.benchmark.quality_key}: best {found}"
        if best is not None and last is not best:
            message += f", last {shown(last.value)}"
        yield Fault(log.path, message, log.last("run_stop").line, _target(limits), found)


@rule("Q102", severity="warning")
def aborted_missed_the_target(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A run that says `aborted` has no evaluation that meets the target.

    Why: it converged, and is scored so; status and evaluations should agree.
    Example: eval_error 0.1231 in epoch 20, run_stop with status aborted.
    Fix: log success as soon as the target is met.
    """
    if limits.benchmark.num_epochs is not None or status_of(log) != "aborted":
        return
    met = first_on_target(log, limits.benchmark)
    if met is not None:
        message = f"run_stop says aborted, but line {met.line} meets the target with {met.value:.6g}"
        yield Fault(log.path, message, log.last("run_stop").line, "success", "aborted")


@rule("Q103", severity="warning")
def run_stop_has_a_status(entry: Entry) -> Iterator[Fault]:
    """run_stop says in its metadata how the run ended: success or aborted.

    Why: without it nobody sees whether a run ended as it meant to.
    Example: run_stop with empty metadata, as one public entry has.
    Fix: pass {"status": "success"} or {"status": "aborted"} with run_stop.
    """
    without = [log for log in entry.logs if log.last("run_stop") is not None and status_of(log) is None]
    if without:
        log = without[0]
        message = f"run_stop has no status in {len(without)} of {len(entry.logs)} logs"
        yield Fault(log.path, message, log.last("run_stop").line, "success or aborted")


@rule("Q104")
def status_is_known(log: RunLog) -> Iterator[Fault]:
    """The status of run_stop is success or aborted.

    Why: other words have no meaning in the rules.
    Example: {"status": "converged"}.
    Fix: log success or aborted.
    """
    status = status_of(log)
    if status is not None and status not in STATUSES:
        found = shown(status)
        yield Fault(
            log.path, f"run_stop has the status {found}", log.last("run_stop").line, "success or aborted", found
        )


@rule("Q105")
def quality_is_possible(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Every evaluation is a number that the quality can be.

    Why: an accuracy of 1.7, a negative error, NaN or text was not measured; none counts as meeting a target.
    Example: eval_accuracy 82.3, in percent where the rules want 0.823.
    Fix: log the evaluation's value itself, as a number.
    """
    benchmark = limits.benchmark
    for event in log.all(benchmark.quality_key):
        if not benchmark.possible.accepts(event.value):
            origin = limits.ruleset.origin("benchmarks", benchmark.name, "possible")
            expected = f"a number {benchmark.possible.describe()} ({origin})"
            found = shown(event.value)
            yield Fault(log.path, f"{benchmark.quality_key} is {found}", event.line, expected, found)


@rule("Q106", needs=("L101",))
def run_is_evaluated(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A run has at least one evaluation.

    Why: without one nothing shows that it learned anything.
    Example: a deepcam log that logs eval_error, where the rules read eval_accuracy.
    Fix: log the benchmark's quality under the key that the rules name.
    """
    key = limits.benchmark.quality_key
    if not log.all(key):
        yield Fault(log.path, f"no {key}", expected=f"at least one ({limits.ruleset.file_name})")


@rule("Q107", needs=("L111", "L112"))
def evaluations_belong_to_their_epoch(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """An evaluation stands in, or right after, the epoch that it names, and only once.

    Why: an evaluation with another epoch's number moves the point at which the run converged.
    Example: epochs 6 and 7, then eval_error with epoch_num 6.
    Fix: log the evaluation in its epoch, with the epoch's number.
    """
    key = limits.benchmark.quality_key
    if not limits.benchmark.evaluation_every_epoch:
        return
    started, evaluated = None, set()
    for event in log.in_order("epoch_start", key):
        if event.key == "epoch_start":
            started = epoch_of(event)
        else:
            number = epoch_of(event)
            if number != started or number in evaluated:
                again = "a second time, " if number in evaluated else ""
                where = "before any epoch" if started is None else f"in epoch {started}"
                yield Fault(
                    log.path, f"{key} of epoch {number} stands {again}{where}", event.line, "once, in its epoch"
                )
                return
            evaluated.add(number)


@rule("Q108", needs=("L111", "Q106", "Q107"))
def epochs_are_evaluated(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Every finished epoch has an evaluation, where the rules ask for one after every epoch.

    Why: evaluation is on the clock; leaving some out is faster, and hides when the target was met.
    Example: epochs 1 to 20, eval_error for 18, 19 and 20 only.
    Fix: evaluate after every epoch.
    """
    if not limits.benchmark.evaluation_every_epoch:
        return
    evaluated = {epoch_of(event) for event in log.all(limits.benchmark.quality_key)}
    missing = [event for event in log.all("epoch_stop") if epoch_of(event) not in evaluated]
    if missing:
        more = f", nor {len(missing) - 1} others" if len(missing) > 1 else ""
        message = f"epoch {epoch_of(missing[0])} has no {limits.benchmark.quality_key}{more}"
        origin = limits.ruleset.origin("benchmarks", limits.benchmark.name, "evaluation_every_epoch")
        yield Fault(log.path, message, missing[0].line, f"an evaluation in every epoch ({origin})")


@rule("Q109", severity="warning", needs=("L111",))
def training_ends_on_target(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Training ends with the first evaluation that meets the target.

    Why: the time to train is taken at run_stop; epochs after the target only cost the submitter, or hide an evaluation
    that was not meant to count.
    Example: target met in epoch 44, run_stop after epoch 47.
    Fix: stop at the first evaluation that meets the target.
    """
    met = first_on_target(log, limits.benchmark)
    if limits.benchmark.num_epochs is not None or met is None:
        return
    late = [event for event in log.all("epoch_start") if event.line > met.line]
    if late:
        yield Fault(
            log.path, f"{len(late)} epochs after the target was met on line {met.line}", late[0].line, "run_stop"
        )


@rule("Q110", severity="warning")
def evaluations_have_results(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """There are as many evaluation intervals as evaluations.

    Why: an interval without a value is an evaluation whose result was left out; a value without one was not timed.
    Example: twenty eval_starts, nineteen eval_errors.
    Fix: log eval_start, the value and eval_stop of every evaluation.
    """
    key = limits.benchmark.quality_key
    num_values, stops = len(log.all(key)), log.all("eval_stop")
    if num_values and num_values != len(stops):
        line = stops[-1].line if stops else 0
        yield Fault(log.path, f"{num_values} {key}, {len(stops)} eval_stop", line, "as many of one as of the other")


@rule("Q111", severity="warning")
def synthetic_data_is_marked(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Runs on synthetic data stand only under a rule set for synthetic data, and say so there.

    Why: what was learned from synthetic data compares with no published result.
    Example: data_is_synthetic true in a log that is checked by mlperf_hpc_3.0.
    Fix: train on the benchmark's data, or name the demo's rule set in submission.toml.
    """
    wanted = bool(limits.ruleset.values.get("synthetic"))
    odd = [log for log in entry.logs if log.events and (log.value("data_is_synthetic") is True) != wanted]
    if odd:
        event = odd[0].first("data_is_synthetic")
        word = "are not marked as run on" if wanted else "were run on"
        message = f"{len(odd)} of {len(entry.logs)} logs {word} synthetic data"
        expected = f"synthetic data ({limits.ruleset.file_name})" if wanted else "the benchmark's own data"
        yield Fault(odd[0].path, message, event.line if event else 0, expected)
