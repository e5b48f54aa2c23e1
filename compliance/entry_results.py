# SPDX-License-Identifier: Apache-2.0
"""EntryResult: the findings and the score of each entry, computed by as many processes as there are cores.

results = entry_results(submission.entries, ruleset)
"""

from collections.abc import Sequence

import msgspec

from compliance.checks import check_entry, findings_of_entry, rules_for
from compliance.checks.registry import Finding
from compliance.files import regular_file
from compliance.mllog import UnreadLog
from compliance.processes import forked, num_children, shares
from compliance.rulesets.ruleset import RuleSet
from compliance.run_log import RunLog
from compliance.scoring.score import Score, score_entry
from compliance.signature import Signature
from compliance.submissions.reader import Entry

MIN_BYTES_TO_SHARE = 4 << 20  # below, a fork costs more than it saves


class LogSummary(msgspec.Struct, array_like=True):
    """Facts about a log that another process has read, under the names of RunLog."""

    error: str | None
    num_events: int
    signature: Signature


class EntryResult(msgspec.Struct, array_like=True):
    """The findings and the score of one entry."""

    findings: list[Finding]
    score: Score | None
    """Without a rank; None for a benchmark that the rule set does not know."""
    logs: list[LogSummary]


_RESULTS = msgspec.msgpack.Decoder(list[EntryResult])


def entry_results(entries: Sequence[Entry], ruleset: RuleSet) -> list[EntryResult]:
    """Check and score every entry, in the order given."""
    sizes = [sum(regular_file.size(log.path) for log in entry.logs) for entry in entries]
    children = min(num_children(), len(entries) - 1) if sum(sizes) >= MIN_BYTES_TO_SHARE else 0
    own, *others = shares(range(len(entries)), sizes, 1 + children)
    results: dict[int, EntryResult] = {}
    most = findings_of_entry(len(entries))

    def pack(share: list[int]) -> bytes:
        return msgspec.msgpack.encode([_result(entries[number], ruleset, most) for number in share])

    with forked(pack, others) as workers:
        results |= {number: _result(entries[number], ruleset, most) for number in own}
        for share, worker in zip(others, workers, strict=True):
            packed = worker.result()
            if packed is None:
                results |= {number: _result(entries[number], ruleset, most) for number in share}
                continue
            for number, result in zip(share, _RESULTS.decode(packed), strict=True):
                results[number] = result
                _summarize(entries[number], result)
    return [results[number] for number in range(len(entries))]


def _result(entry: Entry, ruleset: RuleSet, most: int) -> EntryResult:
    limits = rules_for(entry, ruleset)
    return EntryResult(
        findings=check_entry(entry, ruleset, limits, most),
        score=None if limits is None else score_entry(entry, limits),
        logs=[forget(log) for log in entry.logs],
    )


def forget(log: RunLog) -> LogSummary:
    """The log's summary; its events are freed, and read again if they are needed."""
    summary = LogSummary(log.error, log.num_events, log.signature)
    if isinstance(log, UnreadLog):
        log.forget(**msgspec.structs.asdict(summary))
    return summary


def _summarize(entry: Entry, result: EntryResult) -> None:
    for log, summary in zip(entry.logs, result.logs, strict=True):
        vars(log).update(msgspec.structs.asdict(summary))
