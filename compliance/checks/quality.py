# SPDX-License-Identifier: Apache-2.0
"""Q: evaluations: whether the target was met, when, and whether every epoch was evaluated."""

import math
from collections.abc import Iterator

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown
from compliance.rulesets.constraint import Constraint
from compliance.run_log import Event, RunLog
from compliance.scoring.run_metrics import best_evaluation, converged, epoch_of, first_on_target, status_of
from compliance.submissions.reader import Entry

STATUSES = ("success", "aborted")


def _target(limits: EntryRules) -> str:
    """The target with its origin, such as 'at most 0.124 (mlperf_hpc_0.7.toml)'."""
    origin = limits.ruleset.origin("benchmarks", limits.benchmark.name, "target")
    return f"{limits.benchmark.target.describe()} ({origin})"


def _stop_line(log: RunLog) -> int:
    stop = log.last("run_stop")
    return 0 if stop is None else stop.line


@rule("Q101")
def success_met_the_target(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A run with the status `success` has a logged evaluation that meets the target.

    Why: the evaluations decide, not the status.
    Example: status success after a last eval_error of 0.1246, target 0.124.
    Fix: train until an evaluation meets the target; log aborted if none does.
    """
    if limits.benchmark.num_epochs is not None or status_of(log) != "success":
        return
    if first_on_target(log, limits.benchmark) is None:
        best, evaluations = best_evaluation(log, limits.benchmark), log.until_stop(limits.benchmark.quality_key)
        found = "none" if best is None else f"{best.value:.6g}"
        message = f"run_stop has the status success; {limits.benchmark.quality_key}: best {found}"
        if best is not None and evaluations[-1] is not best:
            message += f", last {shown(evaluations[-1].value)}"
        yield Fault(log.path, message, _stop_line(log), _target(limits), found)


@rule("Q102", severity="warning")
def aborted_missed_the_target(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A run with the status `aborted` has no evaluation that meets the target.

    Why: such a run converged and is scored so; status and evaluations should agree.
    Example: eval_error 0.1231 in epoch 20, run_stop with status aborted.
    Fix: log success as soon as the target is met.
    """
    if limits.benchmark.num_epochs is not None or status_of(log) != "aborted":
        return
    met = first_on_target(log, limits.benchmark)
    if met is not None:
        message = f"run_stop has the status aborted, but line {met.line} meets the target with {met.value:.6g}"
        yield Fault(log.path, message, _stop_line(log), "success", "aborted")


def _without_status(entry: Entry, limits: EntryRules, *, required: bool) -> Iterator[Fault]:
    if limits.ruleset.values["events"]["status_required"] is not required:
        return
    logs = [log for log in entry.logs if log.last("run_stop") is not None and status_of(log) is None]
    if logs:
        message = f"run_stop has no status in {len(logs)} of {len(entry.logs)} logs"
        origin = limits.ruleset.origin("events", "status_required")
        yield Fault(logs[0].path, message, _stop_line(logs[0]), f"success or aborted ({origin})")


@rule("Q103", severity="warning")
def run_stop_should_have_a_status(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """run_stop gives the outcome of the run in its metadata, in rounds that do not require it (v0.7).

    Why: without a status nobody sees whether a run ended as intended.
    Example: run_stop with empty metadata, as in one public entry.
    Fix: log run_stop with the metadata {"status": "success"} or {"status": "aborted"}.
    """
    yield from _without_status(entry, limits, required=False)


@rule("Q104")
def status_is_known(log: RunLog) -> Iterator[Fault]:
    """The status of run_stop is success or aborted.

    Why: other words have no meaning in the rules.
    Example: {"status": "converged"}.
    Fix: log success or aborted.
    """
    status = status_of(log)
    if status is not None and status not in STATUSES:
        message = f"run_stop has the status {shown(status)}"
        yield Fault(log.path, message, _stop_line(log), "success or aborted", shown(status))


def _impossible(log: RunLog, limits: EntryRules) -> Iterator[tuple[Event, str]]:
    """Evaluations outside the quality's possible range, with what was expected."""
    benchmark = limits.benchmark
    origin = limits.ruleset.origin("benchmarks", benchmark.name, "possible")
    for event in log.all(benchmark.quality_key):
        if not benchmark.possible.accepts(event.value):
            yield event, f"a number {benchmark.possible.describe()} ({origin})"


def _diverged(log: RunLog, event: Event, limits: EntryRules) -> bool:
    """True for NaN and infinity in a run that missed the target: one such run of an entry is allowed."""
    is_float = isinstance(event.value, float) and not math.isfinite(event.value)
    return is_float and not converged(log, limits.benchmark)


@rule("Q105")
def quality_is_possible(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Every evaluation is a number that the quality can have.

    Why: an accuracy of 1.7, a negative error or text was not measured, and a run with NaN does not converge.
    Example: eval_accuracy 82.3, in percent instead of 0.823.
    Fix: log the evaluation's value itself, as a number.
    """
    for event, expected in _impossible(log, limits):
        if not _diverged(log, event, limits):
            yield Fault(log.path, f"{event.key} is {shown(event.value)}", event.line, expected, shown(event.value))


@rule("Q106", needs=("L101",))
def run_is_evaluated(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A run has at least one evaluation.

    Why: without an evaluation nothing shows that the run learned anything.
    Example: a deepcam log with eval_error; the rules use eval_accuracy.
    Fix: log the benchmark's quality under the key that the rules name.
    """
    key = limits.benchmark.quality_key
    if not log.all(key):
        yield Fault(log.path, f"no {key}", expected=f"at least one ({limits.ruleset.file_name})")


@rule("Q107", needs=("L111", "L112"))
def evaluations_belong_to_their_epoch(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """An evaluation comes after the start of the epoch that it names and before the next epoch but one, and only once.

    Why: an evaluation with another epoch's number moves the point at which the run converged. Asynchronous evaluation
    ends inside the next epoch; an evaluation numbered 0 before the first epoch is that of the initial model.
    Example: epochs 6, 7 and 8, then eval_error with epoch_num 6.
    Fix: log the evaluation in its epoch, with the epoch's number.
    """
    if not limits.benchmark.evaluation_every_epoch:
        return
    started: list[int | None] = []
    evaluated = set()
    for event in log.in_order("epoch_start", limits.benchmark.quality_key):
        number = epoch_of(event)
        if event.key == "epoch_start":
            started.append(number)
            continue
        is_initial = not started and number == 0
        if number in evaluated or (number not in started[-2:] and not is_initial):
            again = "a second time " if number in evaluated else ""
            where = f"in epoch {started[-1]}" if started else "before any epoch"
            message = f"{event.key} of epoch {number} appears {again}{where}"
            yield Fault(log.path, message, event.line, "once, in its epoch or the next one")
            return
        evaluated.add(number)


@rule("Q108", needs=("L111", "Q106", "Q107"))
def epochs_are_evaluated(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Every finished epoch has an evaluation, if the rules require one after every epoch.

    Why: evaluation is timed, so leaving some out is faster and hides when the target was met.
    Example: epochs 1 to 20, eval_error for 18, 19 and 20 only.
    Fix: evaluate after every epoch.
    """
    if not limits.benchmark.evaluation_every_epoch:
        return
    evaluated = {epoch_of(event) for event in log.all(limits.benchmark.quality_key)}
    missing = [event for event in log.until_stop("epoch_stop") if epoch_of(event) not in evaluated]
    if missing:
        more = f", nor have {len(missing) - 1} others" if len(missing) > 1 else ""
        message = f"epoch {epoch_of(missing[0])} has no {limits.benchmark.quality_key}{more}"
        origin = limits.ruleset.origin("benchmarks", limits.benchmark.name, "evaluation_every_epoch")
        yield Fault(log.path, message, missing[0].line, f"an evaluation in every epoch ({origin})")


@rule("Q109", severity="warning", needs=("L111",))
def training_ends_on_target(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Training ends with the first evaluation that meets the target.

    Why: run_stop ends the time to train; epochs after the target make the submitter's time longer, or hide an
    evaluation that was not meant to count.
    Example: target met in epoch 44, run_stop after epoch 47.
    Fix: stop at the first evaluation that meets the target.
    """
    met = first_on_target(log, limits.benchmark)
    if limits.benchmark.num_epochs is not None or met is None:
        return
    epochs = log.until_stop("epoch_start")
    late = [event for event in epochs if event.line > met.line]
    if late and epochs[0].line < met.line:  # otherwise Q112 reports the evaluation
        message = f"{len(late)} epochs after the target was met on line {met.line}"
        yield Fault(log.path, message, late[0].line, "run_stop")


@rule("Q110", severity="warning")
def evaluations_have_results(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """There are as many evaluation intervals as evaluations.

    Why: an interval without a value is an evaluation whose result was left out; a value without an interval was not
    timed.
    Example: twenty eval_starts, nineteen eval_errors.
    Fix: log eval_start, the value and eval_stop of every evaluation.
    """
    key = limits.benchmark.quality_key
    num_values, stops = len(log.until_stop(key)), log.until_stop("eval_stop")
    if num_values and num_values != len(stops):
        line = stops[-1].line if stops else 0
        yield Fault(log.path, f"{num_values} {key}, {len(stops)} eval_stop", line, "the same number of both")


@rule("Q111", severity="warning")
def synthetic_data_is_marked(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Runs on synthetic data are only checked by a rule set for synthetic data, and are marked as such.

    Why: a result on synthetic data cannot be compared with any published result.
    Example: data_is_synthetic true in a log that is checked by mlperf_hpc_3.0.
    Fix: train on the benchmark's data, or name the demo's rule set in submission.toml.
    """
    wanted = bool(limits.ruleset.values.get("synthetic"))
    odd = [log for log in entry.logs if log.events and (log.value("data_is_synthetic") is True) != wanted]
    if odd:
        word = "are not marked as run on" if wanted else "were run on"
        message = f"{len(odd)} of {len(entry.logs)} logs {word} synthetic data"
        expected = f"synthetic data ({limits.ruleset.file_name})" if wanted else "the benchmark's own data"
        yield Fault(odd[0].path, message, odd[0].line_of("data_is_synthetic"), expected)


@rule("Q112")
def target_is_met_by_training(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The evaluation that meets the target follows at least one epoch of training.

    Why: a model that meets the target before training was trained elsewhere.
    Example: eval_accuracy 0.83 on line 40, the first epoch_start on line 52.
    Fix: start from the initial model of the benchmark.
    """
    met = first_on_target(log, limits.benchmark)
    trained = log.first("epoch_start") or log.first("block_start")
    if met is not None and trained is not None and met.line < trained.line:
        message = f"{met.key} {met.value:.6g} meets the target before any training"
        yield Fault(log.path, message, met.line, f"after line {trained.line}")


@rule("Q113", severity="warning")
def quality_changes(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The quality changes from evaluation to evaluation.

    Why: training changes a model, so equal values were not measured, or come from a model that does not learn.
    Example: eval_error 0.1239 in all 24 epochs.
    Fix: evaluate the model as it is after the epoch; submit the log as the run wrote it.
    """
    events = log.until_stop(limits.benchmark.quality_key)
    values = [event.value for event in events]
    same = next(
        (index for index in range(2, len(values)) if values[index - 2] == values[index - 1] == values[index]), 0
    )
    if same and not isinstance(values[same], list | dict):
        message = f"{events[same].key} is {shown(values[same])} in three evaluations in a row"
        yield Fault(log.path, message, events[same].line, "values that change")


@rule("Q114", severity="warning")
def logged_target_is_the_rules(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A target that a log names is the target of the rules.

    Why: a run that aimed at another target is a result of another benchmark.
    Example: target_accuracy_reached 0.81; the target is 0.82.
    Fix: train to the target of the rules.
    """
    target = Constraint(equals=limits.benchmark.target.threshold)
    for key in (key for key in log.by_key if "target" in key):
        event = log.by_key[key][0]
        is_number = isinstance(event.value, int | float) and not isinstance(event.value, bool)
        if is_number and not target.accepts(event.value):
            yield Fault(log.path, f"{key} is {shown(event.value)}", event.line, _target(limits), shown(event.value))
            return


@rule("Q115")
def run_stop_has_a_status(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """run_stop gives the outcome of the run in its metadata: success or aborted.

    Why: the rules require a status since v1.0; without it nobody sees whether a run ended as intended.
    Example: run_stop with empty metadata.
    Fix: log run_stop with the metadata {"status": "success"} or {"status": "aborted"}.
    """
    yield from _without_status(entry, limits, required=True)


@rule("Q116", severity="warning")
def diverged_run_is_explained(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A run that missed the target has evaluations that are numbers.

    Why: NaN shows that the run diverged. One unconverged run of an entry is allowed, and is dropped as the slowest.
    Example: eval_error NaN from epoch 3 on, status aborted.
    Fix: none is required; find out why the run diverged.
    """
    diverged = [event for event, _ in _impossible(log, limits) if _diverged(log, event, limits)]
    if diverged:
        message = f"{diverged[0].key} is {shown(diverged[0].value)} in {len(diverged)} evaluations: the run diverged"
        yield Fault(log.path, message, diverged[0].line, "numbers")
