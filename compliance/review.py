# SPDX-License-Identifier: Apache-2.0
"""Review: a submission read, its rule set chosen, checked, waived and scored; what check, score and report share.

outcome = review(Path("acme"))
outcome.ok, outcome.findings, outcome.scores
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from compliance import checks
from compliance.checks import waivers
from compliance.checks.registry import Finding
from compliance.judging import judge
from compliance.rulesets import ruleset
from compliance.rulesets.ruleset import RuleSet
from compliance.scoring import score
from compliance.scoring.score import Score
from compliance.submissions import reader, rules_choice
from compliance.submissions.reader import Submission
from compliance.submissions.rules_choice import RuleSetChoice


@dataclass(frozen=True, kw_only=True)
class Review:
    """What there is to say of a submission."""

    submission: Submission
    choice: RuleSetChoice
    """Rule set and the reason for it."""
    findings: list[Finding]
    """By path and line; waived ones have the severity `waived`."""
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
    """Read and judge PATH. Raises SubmissionError, RuleSetError or UserError where that is impossible.

    `earlier` is another round, none of whose logs should stand here again.
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
    """What `score` needs: no rule is run."""
    if rules is not None:
        ruleset.load(rules)  # a misspelt name is said before a large tree is read
    read = reader.read(path)
    return read, rules_choice.choose(read, rules)
