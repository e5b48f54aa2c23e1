# SPDX-License-Identifier: Apache-2.0
"""Review: reads a submission, chooses its rule set, checks, waives and scores it, for check, score and report.

outcome = review(Path("acme"))
outcome.ok, outcome.findings, outcome.entries[0].verdict, outcome.entries[0].score
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

from compliance import checks
from compliance.checks import waivers
from compliance.checks.registry import Finding
from compliance.entry_results import EntryResult, entry_results
from compliance.files import regular_file
from compliance.rulesets import ruleset
from compliance.rulesets.ruleset import RuleSet
from compliance.scoring import score
from compliance.scoring.score import Score
from compliance.submissions import reader, rules_choice
from compliance.submissions.log_digests import AllowedSigners
from compliance.submissions.reader import Entry, Submission
from compliance.submissions.rules_choice import RuleSetChoice

SEVERITIES = ("error", "waived", "warning", "manual")
"""The gravest first; a waived finding was an error or a warning."""
MAX_SIGNERS_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class EntryReview:
    """One entry with its score and all findings that concern it."""

    entry: Entry
    score: Score | None
    """None for a benchmark that the rule set does not know."""
    findings: tuple[Finding, ...]
    """Those about the entry, its system and its code, and those about its organization and the whole submission."""

    @property
    def num_errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def ok(self) -> bool:
        """True if no finding is an error."""
        return not self.num_errors

    @property
    def verdict(self) -> str:
        """accepted, or the number of errors."""
        return "accepted" if self.ok else f"errors {self.num_errors}"


@dataclass(frozen=True, kw_only=True)
class Review:
    """The result of checking and scoring a submission."""

    submission: Submission
    choice: RuleSetChoice
    """The rule set and the reason for it."""
    findings: list[Finding]
    """Sorted by path and line; waived ones have the severity `waived`."""
    entries: tuple[EntryReview, ...] = ()
    """In the order of the tree."""
    least_severity: str = SEVERITIES[-1]
    """Findings that are less severe are not shown; they count all the same."""

    @property
    def ruleset(self) -> RuleSet:
        return self.choice.ruleset

    @property
    def ok(self) -> bool:
        """True if no finding is an error."""
        return not self.counts["error"]

    @property
    def counts(self) -> Counter[str]:
        """Number of findings by severity."""
        return Counter(finding.severity for finding in self.findings)

    @property
    def scored(self) -> list[tuple[Score, str]]:
        """Score and verdict of each entry whose benchmark the rule set knows."""
        return [(entry.score, entry.verdict) for entry in self.entries if entry.score is not None]

    @property
    def shown(self) -> list[Finding]:
        """Findings of at least the severity that was asked for."""
        wanted = SEVERITIES[: SEVERITIES.index(self.least_severity) + 1]
        return [finding for finding in self.findings if finding.severity in wanted]

    @cached_property
    def _labels(self) -> dict[Path, str]:
        labels = {self.submission.root: self.submission.root.absolute().name}
        labels |= {organization.folder: organization.name for organization in self.submission.organizations}
        return labels | {entry.folder: entry.label for entry in self.submission.entries}

    def _folder_of(self, finding: Finding) -> Path:
        path = Path(finding.path)
        return next((place for place in (path, *path.parents) if place in self._labels), self.submission.root)

    def label_of(self, finding: Finding) -> str:
        """The entry whose folder holds the finding's path, else the organization, else the submission."""
        return self._labels[self._folder_of(finding)]

    def place_of(self, finding: Finding) -> str:
        """The finding's path within the folder of label_of; the name of that folder itself."""
        path, folder = Path(finding.path), self._folder_of(finding)
        return str(path.relative_to(folder)) if path != folder and path.is_relative_to(folder) else path.name

    def relative(self, text: str) -> str:
        """A text with paths relative to PATH; PATH itself is its own name."""
        root = str(self.submission.root)
        text = text.replace(root + os.sep, "")
        return self.submission.root.absolute().name + text.removeprefix(root) if text.startswith(root) else text


def review(
    path: Path,
    rules: str | None = None,
    *,
    earlier: Path | None = None,
    waived_by: Path | None = None,
    allowed_signers: Path | None = None,
) -> Review:
    """Read, check and score PATH. UserError if that is impossible.

    `earlier` is another round, whose logs should not appear again in this one; `waived_by` and `allowed_signers` are
    the reviewer's files of accepted findings and of keys.
    """
    if allowed_signers is not None:
        regular_file.read(allowed_signers, MAX_SIGNERS_BYTES)  # an unreadable file is reported before the work
    granted = waivers.read_granted(waived_by, path) if waived_by else None
    read, chosen = read_and_choose(path, rules)
    results = entry_results(read.entries, chosen.ruleset)
    signers = AllowedSigners(file=allowed_signers)
    shared = checks.check_whole(read, chosen.ruleset, reader.read(earlier) if earlier else None, signers)
    own = [finding for result in results for finding in result.findings]
    findings = waivers.apply([*own, *shared], granted) if granted else [*own, *shared]
    return Review(
        submission=read,
        choice=chosen,
        findings=checks.in_order(findings),
        entries=tuple(_entry_reviews(read, results, findings)),
    )


def _entry_reviews(read: Submission, results: Sequence[EntryResult], findings: list[Finding]) -> list[EntryReview]:
    """Give each finding to the entries that it concerns; the results' own findings come first, in the same order."""
    concerned: list[list[Finding]] = [[] for _ in results]
    owners = [number for number, result in enumerate(results) for _ in result.findings]
    entries_at = _entries_at(read)
    for finding, owner in zip_longest(findings, owners):
        for number in _concerned(Path(finding.path), entries_at) if owner is None else [owner]:
            concerned[number].append(finding)
    reviews = zip(read.entries, results, concerned, strict=True)
    return _ranked([EntryReview(entry=entry, score=one.score, findings=tuple(own)) for entry, one, own in reviews])


def _entries_at(read: Submission) -> dict[Path, list[int]]:
    """Numbers of the entries by the places of their files, and by all folders above these in the submission."""
    entries_at: dict[Path, list[int]] = {}
    for number, (organization, entry) in enumerate((one, entry) for one in read.organizations for entry in one.entries):
        code = organization.folder / "benchmarks" / entry.benchmark / entry.system
        described = [entry.description.path] if entry.description else []
        places = {place for path in (entry.folder, code, *described) for place in (path, *path.parents)}
        for place in places:
            if place.is_relative_to(read.root):
                entries_at.setdefault(place, []).append(number)
    return entries_at


def _concerned(path: Path, entries_at: Mapping[Path, list[int]]) -> list[int]:
    """The entries at the nearest place above the path: of its folder, its system, its organization or all of them."""
    return next((entries_at[place] for place in (path, *path.parents) if place in entries_at), [])


def _ranked(reviews: list[EntryReview]) -> list[EntryReview]:
    """VFLOPS scores of accepted entries get their ranks."""
    accepted = [number for number, one in enumerate(reviews) if one.score is not None and one.ok]
    ranked = score.ranked([one.score for number in accepted if (one := reviews[number]).score is not None])
    for number, with_rank in zip(accepted, ranked, strict=True):
        reviews[number] = replace(reviews[number], score=with_rank)
    return reviews


def read_and_choose(path: Path, rules: str | None = None) -> tuple[Submission, RuleSetChoice]:
    """Read PATH and choose its rule set, without running any rule."""
    if rules is not None:
        ruleset.load(rules)  # a misspelt name is reported before a large tree is read
    read = reader.read(path)
    return read, rules_choice.choose(read, rules)
