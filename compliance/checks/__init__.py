# SPDX-License-Identifier: Apache-2.0
"""Runs every rule over a submission. One module a family; importing them registers their rules."""

from collections.abc import Iterator

from compliance.checks import hyperparameters, log, quality, results, system, timing
from compliance.findings import RULES, Finding, Limits, Rule
from compliance.ruleset import RuleSet, RuleSetError
from compliance.submission import Entry, Submission

FAMILIES = (log, timing, results, quality, hyperparameters, system)


def check(submission: Submission, ruleset: RuleSet) -> list[Finding]:
    """Findings of all rules, by path and line."""
    found = list(_run("submission", submission, None))
    for organisation in submission.organisations:
        found += _run("organisation", organisation, None)
    for entry in submission.entries:
        found += _check_entry(entry, limits_of(entry, ruleset))
    return sorted(found, key=lambda finding: (finding.path, finding.line, finding.rule))


def limits_of(entry: Entry, ruleset: RuleSet) -> Limits | None:
    """What holds for an entry; None for a benchmark that the rule set does not know."""
    try:
        return Limits(ruleset=ruleset, benchmark=ruleset.benchmark(entry.benchmark), division=entry.division)
    except RuleSetError:
        return None


def _check_entry(entry: Entry, limits: Limits | None) -> Iterator[Finding]:
    yield from _run("entry", entry, limits)
    for run_log in entry.logs:
        if run_log.error is None:
            yield from _run("log", run_log, limits)


def _run(scope: str, subject: object, limits: Limits | None) -> Iterator[Finding]:
    """The scope's rules in order of their ids; one whose prerequisite found an error is skipped."""
    failed = set()
    for rule in sorted(RULES.values(), key=lambda rule: rule.id):
        if rule.scope != scope or failed.intersection(rule.needs) or (rule.takes_limits and limits is None):
            continue
        findings = list(_findings(rule, subject, limits))
        if findings:
            failed.add(rule.id)
        yield from findings


def _findings(rule: Rule, subject: object, limits: Limits | None) -> Iterator[Finding]:
    faults = rule.check(subject, limits) if rule.takes_limits else rule.check(subject)
    for fault in faults:
        yield Finding(
            rule=rule.id,
            severity=rule.severity,
            path=str(fault.path),
            line=fault.line,
            message=fault.message,
            expected=fault.expected,
            found=fault.found,
            mend=rule.mend,
        )
