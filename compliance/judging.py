# SPDX-License-Identifier: Apache-2.0
"""What there is to say of each entry by itself: its findings and its score, worked out on all cores.

judgements = judge(submission.entries, ruleset)          # in the entries' order

An entry is read, checked and scored in one process, so that no event travels: what comes back from another one are
findings, the score, and of each log the little that rules on the whole submission look at. Whoever asks such a log for
more reads it anew.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from compliance.checks import check_entry, rules_for
from compliance.checks.registry import Finding
from compliance.processes import forked, num_children, shares
from compliance.rulesets.ruleset import RuleSet
from compliance.scoring.score import Score, score_entry
from compliance.submissions.reader import Entry

MIN_BYTES_TO_SHARE = 4 << 20  # below, a fork costs more than it saves


class LogSummary(msgspec.Struct, array_like=True):
    """What is known of a log that another process has read; the names are RunLog's."""

    error: str | None
    num_events: int
    fingerprint: bytes


class EntryResult(msgspec.Struct, array_like=True):
    """Of one entry."""

    findings: list[Finding]
    score: Score | None
    """Unranked; None for a benchmark that the rule set does not know."""
    logs: list[LogSummary]


_JUDGEMENTS = msgspec.msgpack.Decoder(list[EntryResult])


def judge(entries: Sequence[Entry], ruleset: RuleSet) -> list[EntryResult]:
    """Judge every entry, in the order given."""
    sizes = [sum(_size(log.path) for log in entry.logs) for entry in entries]
    children = min(num_children(), len(entries) - 1) if sum(sizes) >= MIN_BYTES_TO_SHARE else 0
    own, *others = shares(range(len(entries)), sizes, 1 + children)
    judgements: dict[int, EntryResult] = {}

    def pack(share: list[int]) -> bytes:
        return msgspec.msgpack.encode([_judge(entries[number], ruleset) for number in share])

    with forked(pack, others) as workers:
        judgements |= {number: _judge(entries[number], ruleset) for number in own}
        for share, worker in zip(others, workers, strict=True):
            packed = worker.result()
            if packed is None:
                judgements |= {number: _judge(entries[number], ruleset) for number in share}
                continue
            for number, judgement in zip(share, _JUDGEMENTS.decode(packed), strict=True):
                judgements[number] = judgement
                _summarise(entries[number], judgement)
    return [judgements[number] for number in range(len(entries))]


def _judge(entry: Entry, ruleset: RuleSet) -> EntryResult:
    limits = rules_for(entry, ruleset)
    return EntryResult(
        findings=check_entry(entry, ruleset, limits),
        score=None if limits is None else score_entry(entry, limits),
        logs=[LogSummary(log.error, log.num_events, log.fingerprint) for log in entry.logs],
    )


def _summarise(entry: Entry, judgement: EntryResult) -> None:
    for log, summary in zip(entry.logs, judgement.logs, strict=True):
        vars(log).update(msgspec.structs.asdict(summary))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
