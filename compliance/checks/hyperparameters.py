# SPDX-License-Identifier: Apache-2.0
"""H: the configuration of the runs, against the rules, against each other and against the system."""

from collections.abc import Iterator

from compliance.checks.log import PLACEHOLDER
from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import missing, shown, unaccepted
from compliance.rulesets.schedule import schedule_faults
from compliance.run_log import Event, RunLog
from compliance.scoring.run_metrics import count, whole
from compliance.submissions.reader import Entry

PREFIXES = ("opt_", "sgd_opt_", "scheduler_", "lars_", "lamb_")
SCALE_KEYS = ("global_batch_size", "number_of_nodes", "number_of_ranks", "accelerators_per_node")
ACCUMULATION_KEYS = ("gradient_accumulation_frequency", "gradient_accumulation_steps")


@rule("H101")
def problem_is_the_benchmarks(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The sample counts of the data set, and other properties of the problem, are the benchmark's.

    Why: a smaller data set is another problem, in Closed and in Open.
    Example: cosmoflow with 262144 train_samples in v2.0, which has 524288.
    Fix: train and evaluate on the whole data set; log its counts.
    """
    table = ("benchmarks", limits.benchmark.name, "keys")
    constraints = limits.benchmark.keys()
    common = limits.ruleset.values["keys"]
    absent = {key: words for key, words in constraints.items() if key not in common}  # L104 reports the others
    yield from unaccepted(entry, constraints, limits, *table)
    yield from missing(entry, absent, limits, *table)


@rule("H102")
def hyperparameters_are_allowed(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Hyperparameters have values that the division allows for the benchmark.

    Why: Closed compares systems, so everything that is not listed as tunable is the reference's.
    Example: deepcam with opt_eps 1e-8 instead of 1e-6.
    Fix: run with an allowed value, or submit to Open.
    """
    table = ("benchmarks", limits.benchmark.name, limits.division)
    yield from unaccepted(entry, limits.benchmark.hyperparameters(limits.division), limits, *table)


@rule("H103")
def hyperparameters_are_logged(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Every hyperparameter that the division lists for the benchmark is logged.

    Why: a value that is not logged can be neither reviewed nor borrowed.
    Example: a cosmoflow log without opt_learning_rate_decay_factor.
    Fix: log all listed hyperparameters before run_start.
    """
    table = ("benchmarks", limits.benchmark.name, limits.division)
    yield from missing(entry, limits.benchmark.hyperparameters(limits.division), limits, *table)


@rule("H104")
def runs_share_hyperparameters(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """All runs of an entry have the same hyperparameters, batch size and scale.

    Why: an entry is one configuration; a mean over several is no result of any of them.
    Example: result_0 to result_4 with opt_lr 0.004, result_5 with 0.005.
    Fix: run all runs with one configuration; submit others as another entry.
    """
    for key in _compared(entry, limits):
        (first, value), *others = [(log, log.by_key[key][0].value) for log in entry.logs if key in log.by_key]
        for log, other in others:
            if not _same(value, other):
                expected = f"{shown(value)}, as in {first.path.name}"
                yield Fault(log.path, f"{key} is {shown(other)}", log.line_of(key), expected, shown(other))
                break


def _same(value: object, other: object) -> bool:
    """Equality that accepts NaN, which equals nothing, and an integer as text."""
    if value == other or repr(value) == repr(other):
        return True
    number = whole(value) if isinstance(value, str) or isinstance(other, str) else None
    return number is not None and number == whole(other)


def _compared(entry: Entry, limits: EntryRules) -> list[str]:
    """Keys that must agree over an entry's runs: those of the rules, and others that look like hyperparameters."""
    listed = {*limits.benchmark.hyperparameters("closed"), *limits.benchmark.hyperparameters(limits.division)}
    listed |= {*limits.benchmark.keys(), *SCALE_KEYS, *ACCUMULATION_KEYS}
    logged = {key for log in entry.logs for key in log.by_key}
    return sorted(key for key in logged if (key in listed or key.startswith(PREFIXES)) and key != "seed")


@rule("H105")
def hyperparameters_have_one_value(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A hyperparameter, or the seed, that a log repeats has the same value each time.

    Why: nobody can tell which of two values the run had.
    Example: opt_lr 0.004 on line 22, opt_lr 0.0055 on line 31.
    Fix: log each hyperparameter once, with the value that is used.
    """
    keys = (*_compared(entry, limits), "seed")
    for log in entry.logs:
        for key in keys:
            events = log.all(key)
            odd = _first_other(events) if len(events) > 1 else None
            if odd is not None:
                found = shown(odd.value)
                expected = f"{shown(events[0].value)} as on line {events[0].line}"
                yield Fault(log.path, f"{key} is {found}", odd.line, expected, found)


def _first_other(events: list[Event]) -> Event | None:
    return next((event for event in events if event.value != events[0].value), None)


@rule("H106", severity="warning")
def batch_divides_among_ranks(entry: Entry) -> Iterator[Fault]:
    """The global batch is a whole number of samples for each rank and accumulation step, or of ranks for each sample.

    Why: gradients are never averaged over a batch that does not divide.
    Example: global_batch_size 500 on 128 ranks.
    Fix: log the batch that one optimizer step sees, over all ranks.
    """
    for log in entry.logs:
        batch, ranks = count(log, "global_batch_size"), count(log, "number_of_ranks")
        steps = next(filter(None, (count(log, key) for key in ACCUMULATION_KEYS)), 1)
        if not batch or not ranks:
            continue
        if batch % steps or (batch % (ranks * steps) and ranks * steps % batch):
            message = f"global_batch_size {batch} on {ranks} ranks with {steps} accumulation steps"
            yield Fault(log.path, message, log.line_of("global_batch_size"), f"a multiple of {ranks * steps}")
            return


@rule("H107", severity="warning")
def ranks_fit_the_nodes(entry: Entry) -> Iterator[Fault]:
    """A timed run has one rank for each accelerator of its nodes; an instance has no more ranks than that.

    Why: if the ranks are not those of the nodes, one of the counts is wrong.
    Example: 512 ranks on 64 nodes with 4 accelerators each.
    Fix: log number_of_ranks, number_of_nodes and accelerators_per_node as the launcher gave them.
    """
    for log in entry.logs:
        nodes, ranks = count(log, "number_of_nodes"), count(log, "number_of_ranks")
        accelerators = count(log, "accelerators_per_node") or 1
        if not nodes or not ranks:
            continue
        if ranks > nodes * accelerators or (entry.scaling == "strong" and ranks != nodes * accelerators):
            message = f"{ranks} ranks on {nodes} nodes with {accelerators} accelerators each"
            yield Fault(log.path, message, log.line_of("number_of_ranks"), f"{nodes * accelerators} ranks")
            return


@rule("H108", severity="warning")
def closed_hyperparameters_are_listed(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A Closed log has no optimizer or schedule keys that the rules do not list for the benchmark.

    Why: a key that is not listed is either fixed by the reference or not allowed; a reviewer has to look.
    Example: opt_lars_trust_coefficient in a cosmoflow log.
    Fix: log only the keys that the rules list, or submit to Open.
    """
    listed = limits.benchmark.hyperparameters("closed")
    if limits.division != "closed" or not listed:
        return
    logged = {key: log for log in reversed(entry.logs) for key in log.by_key if key.startswith(PREFIXES)}
    unlisted = sorted(key for key in logged if key not in listed)
    if unlisted:
        log = logged[unlisted[0]]
        message = f"not listed for Closed: {', '.join(unlisted)[:200]}"
        yield Fault(log.path, message, log.line_of(unlisted[0]), f"keys of {limits.ruleset.file_name}")


@rule("H111")
def schedules_are_possible(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A learning-rate schedule has increasing boundaries and as many factors as boundaries.

    Why: no training code can follow a schedule whose boundaries decrease or have no factor.
    Example: opt_learning_rate_decay_boundary_epochs [64, 32]; two boundaries with one factor.
    Fix: log the schedule that the run used.
    """
    for log in entry.logs:
        for key, found, expected in schedule_faults(log.values()):
            yield Fault(log.path, f"{key} is {shown(found)}", log.line_of(key), expected, shown(found))
            return


@rule("H112", severity="warning")
def runs_share_the_platform(entry: Entry) -> Iterator[Fault]:
    """All runs of an entry name the same submission_platform.

    Why: an entry is one system; another platform in one run is another system, or another log.
    Example: "64xDGX A100" in result_0 to result_8, "64xDGX H100" in result_9.
    Fix: submit runs of one system.
    """
    platforms = [(log, event) for log in entry.logs if (event := _platform(log)) is not None]
    odd = [(log, event) for log, event in platforms if event.value != platforms[0][1].value]
    if odd:
        log, event = odd[0]
        message = f"submission_platform is {shown(event.value)} in {len(odd)} of {len(entry.logs)} logs"
        expected = f"{shown(platforms[0][1].value)}, as in {platforms[0][0].path.name}"
        yield Fault(log.path, message, event.line, expected, shown(event.value))


def _platform(log: RunLog) -> Event | None:
    """The platform that a log names; None for a placeholder, which L114 reports."""
    event = log.first("submission_platform")
    return None if event is None or PLACEHOLDER in str(event.value).upper() else event
