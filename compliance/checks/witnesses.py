# SPDX-License-Identifier: Apache-2.0
"""T and H: what a log says twice. Throughput, latencies and steps are witnesses of times, samples and batch size."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, TypeGuard

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.run_log import Event, RunLog
from compliance.scoring.run_metrics import MS_PER_SECOND, Epoch, count, epoch_of, epochs, whole
from compliance.submissions.reader import Entry

FIRST_STEPS = 1.5  # of an epoch's steps, at the stop of the first epoch; more are those of epochs that were removed
SHORT_S = 0.2  # differences below this are the resolution of the measurement
THROUGHPUT_KEYS = ("throughput", "tracked_stats")
LATENCIES = (("training_epoch_latency", "epoch_start", "eval_start"), ("eval_epoch_latency", "eval_start", "eval_stop"))


@rule("T120", severity="warning")
def throughput_is_the_epochs(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The logged throughput times an epoch's seconds of training gives the same number of samples in every epoch.

    Why: an epoch whose times were shortened no longer agrees with the throughput that the run measured.
    Example: 7160 samples/s in 73.2 s, in epoch 6 7160 samples/s in 71.0 s.
    Fix: submit the log as the run wrote it; measure the throughput over the training part of each epoch.
    """
    rates = _rates(log)
    if len(rates) < 2:
        return
    usual = median(seconds * speed for _, seconds, speed in rates)
    for epoch, seconds, speed in rates:
        if _differs(usual / speed, seconds, limits):
            message = f"{speed:.6g} samples/s in {seconds:.3f} s of training: {seconds * speed:.6g} samples"
            yield Fault(log.path, message, epoch.start.line, f"about {usual:.6g}, as in the other epochs")
            return


@rule("T121", severity="warning")
def throughput_is_the_datasets(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The logged throughput times the seconds of training gives the samples of the data set, or of the logged steps.

    Why: a log whose times were all scaled no longer agrees with its throughput, and neither does an invented rate.
    Example: 524288 training samples; 7160 samples/s in 36.6 s of training are 262056.
    Fix: submit the log as the run wrote it; log samples/s over all ranks.
    """
    if not limits.benchmark.values.get("throughput_is_samples_per_second", True):
        return
    for log in entry.logs:
        rates = _rates(log)
        expected = _samples_per_epoch(log, limits)
        if not rates or not expected:
            continue
        trained = median(seconds * speed for _, seconds, speed in rates)
        seconds = sum(seconds for _, seconds, _ in rates)
        if _differs(seconds * expected / trained, seconds, limits):
            message = f"throughput x seconds of training is {trained:.6g} samples in an epoch"
            yield Fault(log.path, message, rates[0][0].start.line, f"about {expected:.6g}, as the log counts them")


@rule("T122", severity="warning")
def throughput_is_the_other_runs(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Throughput times seconds of training is the same in all runs of an entry.

    Why: the runs of an entry train on the same samples, in whatever unit the throughput is logged.
    Example: 1024 in nine runs, 993 in result_4.txt, whose times were multiplied by 0.97.
    Fix: submit the logs as the runs wrote them.
    """
    products = [(log, median(seconds * speed for _, seconds, speed in rates)) for log, rates in _rates_of_runs(entry)]
    if len(products) < 3:
        return
    usual = median(product for _, product in products)
    tolerance = limits.ruleset.values["plausible"]["witness_tolerance"]
    for log, product in products:
        if abs(product - usual) > tolerance * usual:
            message = f"throughput x seconds of training is {product:.6g}"
            yield Fault(log.path, message, expected=f"about {usual:.6g}, as in the other runs")


@rule("T123", severity="warning")
def latencies_are_the_clocks(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """Logged latencies of training and evaluation are the times between the marks that enclose them.

    Why: a latency is measured apart from the clock, so that both agree only in a log that was not edited.
    Example: training_epoch_latency 73224 ms, but 71000 ms from epoch_start to eval_start.
    Fix: submit the log as the run wrote it.
    """
    for name, start_key, stop_key in LATENCIES:
        measured = [
            event for event in log.until_stop("epoch_stop") if _is_positive(getattr(event.metadata, name, None))
        ]
        if not measured:
            continue
        starts = {epoch_of(event): event for event in log.until_stop(start_key)}
        stops = {epoch_of(event): event for event in log.until_stop(stop_key)}
        for event in measured:
            latency, number = getattr(event.metadata, name), epoch_of(event)
            if number not in starts or number not in stops:
                continue
            seconds = (stops[number].time_ms - starts[number].time_ms) / MS_PER_SECOND
            if _differs(latency / MS_PER_SECOND, seconds, limits):
                message = f"{name} of epoch {number} is {latency / MS_PER_SECOND:.3f} s"
                yield Fault(log.path, message, event.line, f"{seconds:.3f} s, as the clock gives it")
                return


@rule("H109", severity="warning")
def steps_fit_the_batch(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The steps of an epoch times global_batch_size give the training samples.

    Why: a batch of twice or half the logged size takes another number of steps for one epoch.
    Example: 842 steps per epoch of 121266 samples, but global_batch_size 288 instead of 144.
    Fix: log the batch that one optimizer step sees, over all ranks and accumulation steps.
    """
    expected = _samples_per_epoch(log, limits, of_steps=False)
    steps = [step for step in _steps(log) if step > 1]
    batch = count(log, "global_batch_size")
    if not steps or not batch or not expected or limits.benchmark.convergence_unit != "epochs":
        return
    samples = median(steps) * batch
    tolerance = limits.ruleset.values["plausible"]["steps_tolerance"]
    if not expected * (1 - tolerance) <= samples <= expected * (1 + tolerance):
        message = f"{median(steps):g} steps of {batch} samples per epoch are {samples:g} samples"
        expected_text = f"about {expected}, as train_samples says"
        yield Fault(log.path, message, log.line_of("global_batch_size"), expected_text, f"{samples:g}")


@rule("H110", severity="warning")
def steps_go_on(log: RunLog) -> Iterator[Fault]:
    """The number of steps grows by the same amount in every epoch.

    Why: a jump in the steps is an epoch that was removed from the log, though the others were renumbered.
    Example: step_num 842, 1684, 3368 at the stops of epochs 1, 2 and 3.
    Fix: submit the log as the run wrote it.
    """
    numbers = _step_numbers(log)
    increments = [(after - before, event) for (before, _), (after, event) in pairwise(numbers)]
    if len(increments) < 3:
        return
    usual = median(increment for increment, _ in increments[:-1])
    for increment, event in increments[:-1]:  # the last epoch may stop in the middle
        if abs(increment - usual) > max(1, 0.01 * usual):
            yield Fault(log.path, f"{increment:g} steps in one epoch", event.line, f"{usual:g}, as in the others")
            return
    first, event = numbers[0]
    if usual > 1 and first > FIRST_STEPS * usual and epoch_of(event) in (0, 1):
        yield Fault(log.path, f"{first:g} steps before the end of the first epoch", event.line, f"about {usual:g}")


def _differs(one_seconds: float, other_seconds: float, limits: EntryRules) -> bool:
    tolerance = limits.ruleset.values["plausible"]["witness_tolerance"]
    difference = abs(one_seconds - other_seconds)
    return difference > SHORT_S and difference > tolerance * other_seconds


def _rates_of_runs(entry: Entry) -> Iterator[tuple[RunLog, Sequence[tuple[Epoch, float, float]]]]:
    return ((log, rates) for log in entry.logs if (rates := _rates(log)))


def _rates(log: RunLog) -> Sequence[tuple[Epoch, float, float]]:
    """(epoch, seconds of training, logged samples/s) of every epoch that has both."""
    return log.remembered("rates", lambda: list(_each_rate(log)))


def _each_rate(log: RunLog) -> Iterator[tuple[Epoch, float, float]]:
    speeds = _speeds(log)
    complete = [epoch for epoch in epochs(log) if epoch.trained is not None] if speeds else []
    for epoch, following in zip(complete, [*complete[1:], None], strict=False):
        until = log.num_lines if following is None else following.start.line
        assert epoch.trained is not None
        own = [speed for line, speed in speeds.items() if epoch.start.line < line <= until]
        if own and epoch.training_seconds > 0:
            yield epoch, epoch.training_seconds, own[0]


def _speeds(log: RunLog) -> Mapping[int, float]:
    """Logged throughput by line."""
    values: dict[int, Any] = {}
    for event in (event for key in THROUGHPUT_KEYS for event in log.until_stop(key)):
        values[event.line] = event.value.get("throughput") if isinstance(event.value, dict) else event.value
    return {line: speed for line, speed in sorted(values.items()) if _is_positive(speed)}


def _samples_per_epoch(log: RunLog, limits: EntryRules, *, of_steps: bool = True) -> float | None:
    """Samples that an epoch trains: those of its steps if they are logged, otherwise those of the data set."""
    batch, steps = count(log, "global_batch_size"), [step for step in _steps(log) if step > 1]
    if limits.benchmark.convergence_unit != "epochs":  # an "epoch" is a fixed number of steps between evaluations
        every = count(log, "val_every_iters")
        return batch * every if batch and every else None
    if of_steps and batch and steps:
        return median(steps) * batch
    return count(log, "train_samples")


def _steps(log: RunLog) -> list[int]:
    """Steps of each epoch, as step_num of its marks gives them."""
    return log.remembered("steps", lambda: _steps_of_marks(log))


def _steps_of_marks(log: RunLog) -> list[int]:
    numbers = [(_step_of(epoch.start), _step_of(epoch.stop)) for epoch in epochs(log)]
    return [stop - start for start, stop in numbers if start is not None and stop is not None]


def _step_numbers(log: RunLog) -> list[tuple[int, Event]]:
    """(steps so far, event) at the stop of each epoch, or at its tracked_stats if the stops do not give them."""
    for key in ("epoch_stop", "tracked_stats"):
        by_epoch: dict[int, tuple[int, Event]] = {}
        for event in log.until_stop(key):
            step, epoch = _step_of(event), epoch_of(event)
            if step is not None and epoch is not None:
                by_epoch.setdefault(epoch, (step, event))
        if len(by_epoch) > 1:
            return list(by_epoch.values())
    return []


def _step_of(event: Event | None) -> int | None:
    if event is None or event.metadata is None:
        return None
    step = event.metadata.step_num if event.metadata.step_num is not None else event.metadata.step
    return whole(step)


def _is_positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15
