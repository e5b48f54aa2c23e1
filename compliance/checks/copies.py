# SPDX-License-Identifier: Apache-2.0
"""R13x: logs that are copies of other logs: byte for byte, or the same run with its times moved.

Found by hashing, so that a round of thousands of logs costs one pass: equal bytes by their digest, moved copies by the
qualities and the times between them, which no two runs share to the millisecond.
"""

from collections.abc import Iterator

from compliance.checks.registry import Fault, rule
from compliance.mllog import RunLog, hashable
from compliance.submissions.reader import Entry, Submission

Logs = list[tuple[Entry, RunLog]]


@rule("R131")
def runs_are_not_copied_within_an_entry(entry: Entry) -> Iterator[Fault]:
    """No two logs of an entry are the same run.

    Why: a copy is no second run, however its times were moved.
    Example: result_7.txt is result_2.txt with 3600 s added to every time.
    Fix: run again with another seed.
    """
    for (_, original), (_, copy) in _copies([(entry, log) for log in entry.logs]):
        yield _fault(original, copy, original.path.name)


@rule("R135", severity="warning", needs=("R131",))
def runs_learn_differently(entry: Entry) -> Iterator[Fault]:
    """No two logs of an entry have the same evaluations to the last digit.

    Why: runs with different seeds never do; it is one run twice, or one log with other times.
    Example: the eval_errors of result_4.txt are those of result_1.txt, each time a few seconds off.
    Fix: run again with another seed.
    """
    originals: dict[object, RunLog] = {}
    for log in entry.logs:
        values = [event.value for event in log.evaluations]
        original = originals.setdefault(hashable(values), log) if len(values) > 2 else log
        if original is not log:
            line = log.evaluations[0].line
            yield Fault(log.path, f"has all evaluations of {original.path.name}", line, "evaluations of its own")


@rule("R132")
def runs_are_not_copied_between_entries(submission: Submission) -> Iterator[Fault]:
    """No log of an entry is a run of another entry of the same organization and metric.

    Why: a run was done on one system, for one benchmark; it is one entry's result.
    Example: results/small/strong/deepcam/result_0.txt is results/large/strong/deepcam/result_0.txt.
    Fix: remove the copies; an entry consists of its own runs.
    """
    for (source, original), (target, copy) in _copies_between_entries(submission):
        if source.org == target.org and source.scaling == target.scaling:
            yield _fault(original, copy, original.path)


@rule("R133", severity="warning")
def instances_are_not_timed_runs(submission: Submission) -> Iterator[Fault]:
    """Instances of a throughput entry do not also stand as the runs of a time-to-train entry.

    Why: instances run beside each other, timed runs have their part of the system alone. A published entry does it.
    Example: weak/cosmoflow/result_1.txt and strong/cosmoflow/result_1.txt are one file.
    Fix: time the runs by themselves, or say in the README that they ran among the others.
    """
    pairs: dict[tuple, list[tuple[RunLog, RunLog]]] = {}
    for (source, original), (target, copy) in _copies_between_entries(submission):
        if source.org == target.org and source.scaling != target.scaling:
            pairs.setdefault((source.folder, target.folder), []).append((original, copy))
    for copies in pairs.values():
        original, copy = copies[0]
        yield _fault(original, copy, original.path, f"; so are {len(copies)} logs of the folder")


@rule("R134")
def runs_are_not_copied_between_organizations(submission: Submission) -> Iterator[Fault]:
    """No log of an organization is a run of another organization.

    Why: it shows a result on a system that never ran.
    Example: acme/.../result_0.txt is another organization's log with the organization's name replaced.
    Fix: submit logs of one's own runs.
    """
    for (source, original), (target, copy) in _copies_between_entries(submission):
        if source.org != target.org:
            yield _fault(original, copy, original.path)


@rule("R136", severity="warning")
def runs_are_not_of_an_earlier_round(submission: Submission, earlier: Submission) -> Iterator[Fault]:
    """No log is a run of another round, where that round is given beside the submission.

    Why: a result may be re-used from an earlier round, but the submission has to say so.
    Example: a v2.0 log that is a v1.0 log with its times moved by a year.
    Fix: run again, or declare the result as re-used.
    """
    theirs = {id(entry) for entry in earlier.entries}
    for (source, original), (target, copy) in _copies([*_logs(earlier), *_logs(submission)]):
        if id(source) in theirs and id(target) not in theirs:
            yield _fault(original, copy, original.path)


def _fault(original: RunLog, copy: RunLog, name: object, more: str = "") -> Fault:
    how = "byte for byte" if copy.digest == original.digest else "with its times moved"
    return Fault(copy.path, f"is {name} {how}{more}", expected="a run of its own")


def _copies_between_entries(submission: Submission) -> Iterator[tuple[tuple, tuple]]:
    for original, copy in _copies(_logs(submission)):
        if original[0] is not copy[0]:
            yield original, copy


def _logs(submission: Submission) -> Logs:
    return [(entry, log) for entry in submission.entries for log in entry.logs]


def _copies(logs: Logs) -> Iterator[tuple[tuple[Entry, RunLog], tuple[Entry, RunLog]]]:
    """(original, copy) with equal fingerprints; the first log in the tree's order is the original."""
    originals: dict[object, tuple[Entry, RunLog]] = {}
    for entry, log in logs:
        if log.num_events:
            original = originals.setdefault(log.fingerprint, (entry, log))
            if original[1] is not log:
                yield original, (entry, log)
