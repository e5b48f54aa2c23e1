# SPDX-License-Identifier: Apache-2.0
"""H: what the runs were configured with, against the rules, against each other and against the system."""

from collections.abc import Iterator
from typing import Any

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import missing, shown, unaccepted
from compliance.mllog import RunLog
from compliance.submissions.reader import Entry

PREFIXES = ("opt_", "sgd_opt_", "scheduler_", "lars_", "lamb_")
SCALE_KEYS = ("global_batch_size", "number_of_nodes", "number_of_ranks", "accelerators_per_node")
ACCUMULATION_KEYS = ("gradient_accumulation_frequency", "gradient_accumulation_steps")


@rule("H101")
def problem_is_the_benchmarks(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The data set's sample counts, and what else belongs to the problem, are the benchmark's.

    Why: a smaller data set is another problem, in Closed as in Open.
    Example: cosmoflow with 262144 train_samples in v2.0, which has 524288.
    Fix: train and evaluate on the whole data set; log its counts.
    """
    table = ("benchmarks", limits.benchmark.name, "keys")
    constraints = limits.benchmark.keys()
    common = limits.ruleset.values["keys"]
    absent = {key: constraint for key, constraint in constraints.items() if key not in common}  # else L104 says so
    yield from unaccepted(entry, constraints, limits, *table)
    yield from missing(entry, absent, limits, *table)


@rule("H102")
def hyperparameters_are_allowed(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Hyperparameters have values that the division allows for the benchmark.

    Why: Closed compares systems, so that everything that is not listed as tunable is the reference's.
    Example: deepcam with opt_eps 1e-8, which is 1e-6.
    Fix: run with an allowed value, or submit to Open.
    """
    table = ("benchmarks", limits.benchmark.name, limits.division)
    yield from unaccepted(entry, limits.benchmark.hyperparameters(limits.division), limits, *table)


@rule("H103")
def hyperparameters_are_logged(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Every hyperparameter that the division lists for the benchmark is logged.

    Why: what is not logged cannot be reviewed, nor borrowed.
    Example: a cosmoflow log without opt_learning_rate_decay_factor.
    Fix: log all listed hyperparameters before run_start.
    """
    table = ("benchmarks", limits.benchmark.name, limits.division)
    yield from missing(entry, limits.benchmark.hyperparameters(limits.division), limits, *table)


@rule("H104")
def runs_share_hyperparameters(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """All runs of an entry have the same hyperparameters, batch size and scale.

    Why: an entry is one configuration; a mean over several is no result of any.
    Example: result_0 to result_4 with opt_lr 0.004, result_5 with 0.005.
    Fix: run all runs from one configuration; submit others as another entry.
    """
    for key in _compared(entry, limits):
        (first, value), *others = [(log, log.by_key[key][0].value) for log in entry.logs if key in log.by_key]
        for log, other in others:
            if other != value and repr(other) != repr(value):  # NaN equals nothing, but reads as itself
                expected = f"{shown(value)}, as in {first.path.name}"
                yield Fault(log.path, f"{key} is {shown(other)}", log.first(key).line, expected, shown(other))
                break


def _compared(entry: Entry, limits: EntryRules) -> list[str]:
    """Keys that must agree over an entry's runs: the rules' and whatever looks like a hyperparameter."""
    listed = {*limits.benchmark.hyperparameters("closed"), *limits.benchmark.hyperparameters(limits.division)}
    listed |= {*limits.benchmark.keys(), *SCALE_KEYS, *ACCUMULATION_KEYS}
    logged = {key for log in entry.logs for key in log.by_key}
    return sorted(key for key in logged if (key in listed or key.startswith(PREFIXES)) and key != "seed")


@rule("H105")
def hyperparameters_stand_once(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A hyperparameter, or the seed, that a log repeats has the same value each time.

    Why: nobody can tell which of two values the run had.
    Example: opt_lr 0.004 on line 22, opt_lr 0.0055 on line 31.
    Fix: log each hyperparameter once, with the value that is used.
    """
    keys = (*_compared(entry, limits), "seed")
    for log in entry.logs:
        for key in keys:
            events = log.by_key.get(key, ())
            if len(events) < 2:
                continue
            first = events[0]
            odd = next((event for event in events if event.value != first.value), None)
            if odd is not None:
                found = shown(odd.value)
                yield Fault(
                    log.path, f"{key} is {found}", odd.line, f"{shown(first.value)} as on line {first.line}", found
                )


@rule("H106", severity="warning")
def batch_divides_among_ranks(entry: Entry) -> Iterator[Fault]:
    """The global batch is a whole number of samples for each rank and accumulation step, or of ranks for each sample.

    Why: a batch that does not divide was not the batch that the gradients were averaged over.
    Example: global_batch_size 500 on 128 ranks.
    Fix: log the batch that one optimizer step sees, over all ranks.
    """
    for log in entry.logs:
        batch, ranks = _count(log, "global_batch_size"), _count(log, "number_of_ranks")
        steps = next(filter(None, (_count(log, key) for key in ACCUMULATION_KEYS)), 1)
        if batch and ranks and batch % (ranks * steps) and ranks % batch:
            message = f"global_batch_size {batch} on {ranks} ranks with {steps} accumulation steps"
            yield Fault(log.path, message, log.first("global_batch_size").line, f"a multiple of {ranks * steps}")
            return


@rule("H107", severity="warning")
def ranks_fit_the_nodes(entry: Entry) -> Iterator[Fault]:
    """There are no more ranks than accelerators, and as many on each node.

    Why: a count of ranks that the nodes cannot hold is a wrong count of something.
    Example: 512 ranks on 64 nodes with 4 accelerators each.
    Fix: log number_of_ranks, number_of_nodes and accelerators_per_node as the launcher gave them.
    """
    for log in entry.logs:
        nodes, ranks = _count(log, "number_of_nodes"), _count(log, "number_of_ranks")
        accelerators = _count(log, "accelerators_per_node")
        if not nodes or not ranks:
            continue
        if (accelerators and ranks > nodes * accelerators) or (entry.scaling == "strong" and ranks % nodes):
            message = f"{ranks} ranks on {nodes} nodes with {accelerators or 0} accelerators each"
            yield Fault(log.path, message, log.first("number_of_ranks").line, "ranks that fill the nodes evenly")
            return


def _count(log: RunLog, key: str) -> int | None:
    """A logged whole number above zero, else None."""
    value: Any = log.value(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        return None
    return int(value) if value == int(value) else None


@rule("H108", severity="warning")
def closed_hyperparameters_are_listed(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A Closed log holds no optimizer or schedule keys that the rules do not list for the benchmark.

    Why: a key that is not listed is either fixed by the reference or not allowed; a reviewer has to look.
    Example: opt_lars_trust_coefficient in a cosmoflow log.
    Fix: log only what the rules list, or submit to Open.
    """
    listed = limits.benchmark.hyperparameters("closed")
    if limits.division != "closed" or not listed:
        return
    logged = {key: log for log in reversed(entry.logs) for key in log.by_key if key.startswith(PREFIXES)}
    unlisted = sorted(key for key in logged if key not in listed)
    if unlisted:
        log = logged[unlisted[0]]
        message = f"not listed for Closed: {', '.join(unlisted)[:200]}"
        yield Fault(log.path, message, log.first(unlisted[0]).line, f"keys of {limits.ruleset.file_name}")
