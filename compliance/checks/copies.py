# SPDX-License-Identifier: Apache-2.0
"""R13x: logs that are copies of other logs: byte for byte, with other times, or edited.

Every log is looked up by its signature in dictionaries of the logs before it, so a round of thousands of logs takes
linear time: exact copies by the hash of their course, edited ones by the long numbers that they share with a log, and
rounded ones by their first evaluations.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from compliance.checks.registry import Fault, rule
from compliance.run_log import RunLog
from compliance.signature import Signature, is_long
from compliance.submissions.reader import Entry, Submission

MAX_REMEMBERED = 4  # logs for each number: what is in more logs is compared with the first ones
MIN_SHARED, SHARED_SHARE = 3, 0.2  # numbers that two logs share by chance are fewer
MIN_EVALUATIONS = 4
MIN_SHORT = 8  # evaluations of few digits that two runs do not share, all of them, by chance
WINDOW = 3  # successive evaluations that must agree before two logs are compared
LAST_DIGITS = 1e-6  # relative; runs with different seeds differ by more in most of their evaluations
CELL = 1e-5  # relative
ROUNDINGS = (3, 4, 5, 6)  # decimals; a log with more has not been rounded

Place = tuple[Entry, RunLog]


@rule("R131")
def runs_are_not_copied_within_an_entry(entry: Entry) -> Iterator[Fault]:
    """No two logs of an entry are the same run.

    Why: a copy is not a second run, even if its times were moved.
    Example: result_7.txt is result_2.txt with 3600 s added to every time.
    Fix: run again with another seed.
    """
    for (_, original), (_, copy) in _copies([(entry, log) for log in entry.logs]):
        yield _fault(original, copy, original.path.name)


@rule("R132")
def runs_are_not_copied_between_entries(submission: Submission) -> Iterator[Fault]:
    """No log of an entry is a run of another entry of the same organization and metric.

    Why: a run was done on one system for one benchmark; it belongs to one entry.
    Example: results/small/strong/deepcam/result_0.txt is results/large/strong/deepcam/result_0.txt.
    Fix: remove the copies; an entry consists of its own runs.
    """
    for (source, original), (target, copy) in _copies_between_entries(submission):
        if source.org == target.org and source.scaling == target.scaling:
            yield _fault(original, copy, original.path)


@rule("R133", severity="warning")
def instances_are_not_timed_runs(submission: Submission) -> Iterator[Fault]:
    """Instances of a throughput entry are not the runs of a time-to-train entry as well.

    Why: instances share the system, timed runs have their part of it alone. A published entry does it.
    Example: weak/cosmoflow/result_1.txt and strong/cosmoflow/result_1.txt are one file.
    Fix: time the runs separately, or say in the README that they ran among the others.
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
    Fix: submit only logs of your own runs.
    """
    for (source, original), (target, copy) in _copies_between_entries(submission):
        if source.org != target.org:
            yield _fault(original, copy, original.path)


@rule("R135", severity="warning")
def runs_do_not_share_numbers(submission: Submission) -> Iterator[Fault]:
    """No two logs of a round have several evaluations, losses or training accuracies in common to the last digit.

    Why: runs with different seeds never do; it is one run twice, or a log with parts of another run.
    Example: the eval_errors of result_4.txt from epoch 13 on are those of result_1.txt.
    Fix: run again with another seed; submit the logs as the runs wrote them.
    """
    for pair in _edited_copies(submission):
        if not pair.shows_another_system:
            yield pair.fault


@rule("R136", severity="warning")
def runs_are_not_of_an_earlier_round(submission: Submission, earlier: Submission) -> Iterator[Fault]:
    """No log is a run of another round, if that round is given beside the submission.

    Why: a result may be reused from an earlier round, but the submission has to say so.
    Example: a v2.0 log that is a v1.0 log with its times moved by a year.
    Fix: run again, or declare the result as reused.
    """
    theirs = {id(entry) for entry in earlier.entries}
    for (source, original), (target, copy) in _copies([*_logs(earlier), *_logs(submission)]):
        if id(source) in theirs and id(target) not in theirs:
            yield _fault(original, copy, original.path)


@rule("R137", severity="warning")
def evaluations_are_not_edited(submission: Submission) -> Iterator[Fault]:
    """No log has the evaluations of another log of the benchmark, all of them, rounded, or with other last digits.

    Why: runs with different seeds differ by far more.
    Example: every eval_error of result_4.txt is that of result_1.txt, rounded to four decimals.
    Fix: run again with another seed; submit the logs as the runs wrote them.
    """
    for original, copy in _near_copies(submission):
        equal = original[1].signature.qualities == copy[1].signature.qualities
        how = "in other times" if equal else "rounded or with other last digits"
        message = f"has the evaluations of {_name(original, copy)}, {how}"
        yield Fault(copy[1].path, message, expected="evaluations of its own")


@rule("R138")
def runs_are_of_their_system(submission: Submission) -> Iterator[Fault]:
    """No log has all evaluations of a run on another system.

    Why: a run has one system; the times of this log are not those of the run that learned these values.
    Example: results/large/.../result_0.txt has the evaluations of results/small/.../result_0.txt in half the time.
    Fix: submit the log as the run wrote it, under the system that ran.
    """
    for pair in _edited_copies(submission):
        if pair.shows_another_system:
            yield pair.fault


def _fault(original: RunLog, copy: RunLog, name: object, more: str = "") -> Fault:
    how = "byte for byte" if copy.digest == original.digest else "with its times moved"
    return Fault(copy.path, f"is {name} {how}{more}", expected="a run of its own")


def _name(original: Place, copy: Place) -> str:
    return original[1].path.name if original[0] is copy[0] else str(original[1].path)


def _copies_between_entries(submission: Submission) -> Iterator[tuple[Place, Place]]:
    for original, copy in _copies(_logs(submission)):
        if original[0] is not copy[0]:
            yield original, copy


def _logs(submission: Submission) -> list[Place]:
    return [(entry, log) for entry in submission.entries for log in entry.logs]


def _copies(logs: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    """(original, copy) with the same course; the first log in the tree's order is the original."""
    originals: dict[int, Place] = {}
    for entry, log in logs:
        if log.num_events:
            original = originals.setdefault(log.signature.course, (entry, log))
            if original[1] is not log:
                yield original, (entry, log)


@dataclass(frozen=True)
class _Pair:
    """Two logs that share numbers."""

    original: Place
    copy: Place
    num_shared: int
    num_own: int
    """Long numbers of the copy."""

    @property
    def shows_another_system(self) -> bool:
        """True if all evaluations are those of a run on another system, in other times."""
        source, target = self.original[0], self.copy[0]
        same = self.original[1].signature.qualities == self.copy[1].signature.qualities
        return same and (source.org, source.system) != (target.org, target.system) and source.scaling == target.scaling

    @property
    def fault(self) -> Fault:
        name = _name(self.original, self.copy)
        if self.original[1].signature.qualities == self.copy[1].signature.qualities:
            message = f"has all evaluations of {name}, in other times"
        else:
            message = f"shares {self.num_shared} of its {self.num_own} evaluations, losses and accuracies with {name}"
        return Fault(self.copy[1].path, message, expected="numbers of its own")


@dataclass
class _Known:
    """Logs seen so far, by the numbers or the cells that they hold; at most MAX_REMEMBERED for each."""

    places: dict[object, list[Place]] = field(default_factory=dict)

    def matches(self, keys: Sequence[object]) -> Counter[int]:
        """How many of the keys each earlier log has, by id."""
        return Counter(id(place[1]) for key in keys for place in self.places.get(key, ()))

    def find(self, keys: Sequence[object], log_id: int) -> Place:
        return next(place for key in keys for place in self.places.get(key, ()) if id(place[1]) == log_id)

    def add(self, keys: Sequence[object], place: Place) -> None:
        for key in keys:
            known = self.places.setdefault(key, [])
            if len(known) < MAX_REMEMBERED:
                known.append(place)


def _edited_copies(submission: Submission) -> Sequence[_Pair]:
    """Each log that shares numbers with an earlier one, but is not an exact copy of it; several rules need them."""
    return submission.remembered("edited copies", lambda: list(_each_edited_copy(submission)))


def _each_edited_copy(submission: Submission) -> Iterator[_Pair]:
    known, logs = _Known(), _logs(submission)
    for place in logs:
        signature = place[1].signature if place[1].num_events else None
        keys = sorted(signature.exact) if signature else []
        shared = known.matches(keys)
        log_id, number = shared.most_common(1)[0] if shared else (0, 0)
        if signature and number >= max(MIN_SHARED, SHARED_SHARE * len(keys)):
            original = known.find(keys, log_id)
            other = original[1].signature
            # Equal seeds in an entry are R106's finding, and pruning such instances is allowed.
            one_seed = original[0] is place[0] and other.seed != "" and other.seed == signature.seed
            if other.course != signature.course and not one_seed:
                yield _Pair(original, place, number, len(keys))
        known.add(keys, place)


def _near_copies(submission: Submission) -> Iterator[tuple[Place, Place]]:
    """(original, copy) with evaluations that are nearly equal, or equal and short."""
    known = _Known()
    for place in _logs(submission):
        qualities = place[1].signature.qualities if place[1].num_events else ()
        if len(qualities) < MIN_EVALUATIONS:
            continue
        keys = [(place[0].benchmark, *key) for key in _near_keys(qualities)]
        candidates = {id(other[1]): other for key in keys for other in known.places.get(key, ())}
        near = (other for other in candidates.values() if _is_near(other[1].signature, place[1].signature))
        if (original := next(near, None)) is not None:
            yield original, place
        known.add(keys, place)


def _near_keys(qualities: Sequence[float]) -> Iterator[tuple[object, ...]]:
    """Cells of two shifted grids for the first and the middle evaluations, and the roundings of the first ones."""
    for start in (0, len(qualities) // 2):
        window = qualities[start : start + WINDOW]
        if len(window) == WINDOW and all(math.isfinite(value) and value > 0 for value in window):
            scaled = [math.log(value) / CELL for value in window]
            yield ("cell", start, 0, *map(math.floor, scaled))
            yield ("cell", start, 1, *(math.floor(value + 0.5) for value in scaled))
    decimals = _decimals(qualities)
    for number in ROUNDINGS if decimals is None else (decimals,):
        yield ("rounded", number, *(round(value, number) for value in qualities[:WINDOW] if math.isfinite(value)))


def _decimals(qualities: Sequence[float]) -> int | None:
    """Decimals of evaluations that were all rounded; None if one of them has more than ROUNDINGS."""
    fitting = (number for number in ROUNDINGS if all(round(value, number) == value for value in qualities))
    return next(fitting, None)


def _is_near(signature: Signature, other_signature: Signature) -> bool:
    """True if nine of ten evaluations agree in all but the last digits, or after rounding.

    Equal ones are the finding of other rules, unless they have so few digits that those rules do not compare them.
    """
    qualities, others = signature.qualities, other_signature.qualities
    pairs = [pair for pair in zip(qualities, others, strict=False) if all(map(math.isfinite, pair))]
    least = 0.9 * max(len(qualities), len(others))
    if all(value == other for value, other in pairs):
        is_copy = signature.course == other_signature.course
        one_seed = signature.seed != "" and signature.seed == other_signature.seed
        return len(pairs) >= MIN_SHORT and not (is_copy or one_seed or any(map(is_long, qualities)))
    if sum(abs(value - other) <= LAST_DIGITS * abs(other) for value, other in pairs) >= least:
        return True
    decimals = min((number for number in map(_decimals, (qualities, others)) if number is not None), default=None)
    return decimals is not None and sum(round(a, decimals) == round(b, decimals) for a, b in pairs) >= least
