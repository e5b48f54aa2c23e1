# SPDX-License-Identifier: Apache-2.0
"""Review: reads a submission, chooses its rule set, checks, waives and scores it, for check, score and report.

outcome = review(Path("acme"))
outcome.ok, outcome.findings, outcome.scores
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec

from compliance import checks
from compliance.checks import check_entry, rules_for, waivers
from compliance.checks.registry import Finding
from compliance.processes import forked, num_children, shares
from compliance.rulesets import ruleset
from compliance.rulesets.ruleset import RuleSet
from compliance.scoring import score
from compliance.scoring.score import Score, score_entry
from compliance.submissions import reader, rules_choice
from compliance.submissions.reader import Entry, Submission
from compliance.submissions.rules_choice import RuleSetChoice


@dataclass(frozen=True, kw_only=True)
class Review:
    """The result of checking and scoring a submission."""

    submission: Submission
    choice: RuleSetChoice
    """The rule set and the reason for it."""
    findings: list[Finding]
    """Sorted by path and line; waived ones have the severity `waived`."""
    scores: list[Score]

    @property
    def ruleset(self) -> RuleSet:
        return self.choice.ruleset

    @property
    def ok(self) -> bool:
        """No finding is an error."""
        return not self.counts["error"]

    @property
    def counts(self) -> Counter[str]:
        """Findings by severity."""
        return Counter(finding.severity for finding in self.findings)


def review(path: Path, rules: str | None = None, *, earlier: Path | None = None) -> Review:
    """Read, check and score PATH. UserError if that is impossible.

    `earlier` is another round, whose logs should not appear again in this one.
    """
    read, chosen = read_and_choose(path, rules)
    judgements = judge(read.entries, chosen.ruleset)
    findings = checks.check_whole(read, chosen.ruleset, earlier=reader.read(earlier) if earlier else None)
    findings += chain.from_iterable(judgement.findings for judgement in judgements)
    return Review(
        submission=read,
        choice=chosen,
        findings=waivers.apply(read, checks.in_order(findings)),
        scores=score.ranked([judgement.score for judgement in judgements if judgement.score is not None]),
    )


def read_and_choose(path: Path, rules: str | None = None) -> tuple[Submission, RuleSetChoice]:
    """Read PATH and choose its rule set, without running any rule."""
    if rules is not None:
        ruleset.load(rules)  # a misspelt name is reported before a large tree is read
    read = reader.read(path)
    return read, rules_choice.choose(read, rules)


MIN_BYTES_TO_SHARE = 4 << 20  # below, a fork costs more than it saves


class LogSummary(msgspec.Struct, array_like=True):
    """Facts about a log that another process has read, under the names of RunLog."""

    error: str | None
    num_events: int
    fingerprint: bytes


class EntryResult(msgspec.Struct, array_like=True):
    """The findings and the score of one entry."""

    findings: list[Finding]
    score: Score | None
    """Without a rank; None for a benchmark that the rule set does not know."""
    logs: list[LogSummary]


_JUDGEMENTS = msgspec.msgpack.Decoder(list[EntryResult])


def judge(entries: Sequence[Entry], ruleset: RuleSet) -> list[EntryResult]:
    """Check and score every entry, in the order given."""
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
                _summarize(entries[number], judgement)
    return [judgements[number] for number in range(len(entries))]


def _judge(entry: Entry, ruleset: RuleSet) -> EntryResult:
    limits = rules_for(entry, ruleset)
    return EntryResult(
        findings=check_entry(entry, ruleset, limits),
        score=None if limits is None else score_entry(entry, limits),
        logs=[LogSummary(log.error, log.num_events, log.fingerprint) for log in entry.logs],
    )


def _summarize(entry: Entry, judgement: EntryResult) -> None:
    for log, summary in zip(entry.logs, judgement.logs, strict=True):
        vars(log).update(msgspec.structs.asdict(summary))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
