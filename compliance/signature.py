# SPDX-License-Identifier: Apache-2.0
"""Signature: a few hundred bytes of a run log by which copies of the run are recognized, exact or edited.

Small and independent of the log, so that the logs of a whole round can be compared without keeping their events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from compliance.run_log import Event, RunLog

STATISTICS = ("train_loss", "eval_loss", "train_accuracy")
MAX_VALUES = 512
SAMPLING = 16  # of training statistics, every sixteenth value is kept: the same ones in a log and in its copy
MIN_DIGITS = 9  # characters of a number; shorter ones, such as 0.82 or 0.001, can be equal by chance


class Signature(msgspec.Struct, frozen=True, array_like=True):
    """Numbers that two runs do not share."""

    course: int
    """Hash of the evaluations and the times between them: equal for a log and its copy with all times moved."""
    qualities: tuple[float, ...]
    """The evaluations that are numbers, in file order."""
    statistics: frozenset[float]
    """A sample of the losses and training accuracies."""
    seed: str
    """The logged seed as text; empty without one."""
    has_digest: bool
    """True if the log has log_digest events (compliance/log_digest.py)."""

    @property
    def exact(self) -> frozenset[float]:
        """Numbers with so many digits that two runs do not share them by chance."""
        return frozenset(value for value in self.qualities if is_long(value)) | self.statistics


def signature_of(log: RunLog) -> Signature:
    evaluations = log.evaluations
    return Signature(
        course=_course(log, evaluations),
        qualities=tuple(event.value for event in evaluations if type(event.value) is float)[:MAX_VALUES],
        statistics=frozenset(_sampled(log)),
        seed="" if log.value("seed") is None else repr(log.value("seed")),
        has_digest="log_digest" in log.by_key,
    )


def _course(log: RunLog, evaluations: list[Event]) -> int:
    """Two runs never have the same times between their evaluations; a log without two evaluations has its digest."""
    if len(evaluations) < 2:
        return hash(log.digest)
    start_ms = evaluations[0].time_ms
    try:
        return hash(tuple((_comparable(event.value), event.time_ms - start_ms) for event in evaluations))
    except TypeError:  # a list or a table as value
        return hash(repr([(event.value, event.time_ms - start_ms) for event in evaluations]))


def _comparable(value: Any) -> Any:
    """NaN as text, since it differs from itself."""
    return value if value == value else "nan"


def _sampled(log: RunLog) -> list[float]:
    values = (event.value for key in STATISTICS for event in log.all(key))
    return [value for value in values if type(value) is float and hash(value) % SAMPLING == 0 and is_long(value)]


def is_long(value: Any) -> bool:
    return len(repr(value)) >= MIN_DIGITS
