# SPDX-License-Identifier: Apache-2.0
"""Runs every rule over a submission. One module a family; importing them registers their rules."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from compliance.checks import (
    borrowed,
    convergence,
    copies,
    hpc_ai500,
    hyperparameters,
    layout,
    log,
    package,
    quality,
    results,
    system,
    template,
    timing,
)
from compliance.findings import RULES, SCOPES, Finding, Limits, Rule
from compliance.ruleset import RuleSet, RuleSetError
from compliance.submission import Entry, Submission

FAMILIES = (
    log,
    timing,
    results,
    layout,
    copies,
    quality,
    hyperparameters,
    borrowed,
    system,
    convergence,
    hpc_ai500,
    package,
    template,
)

MAX_FINDINGS = 1000  # of one rule on one log or entry: what is more is counted, so that memory stays bounded


def check(submission: Submission, ruleset: RuleSet, earlier: Submission | None = None) -> list[Finding]:
    """Findings of all rules, by path and line; `earlier` is another round, whose logs should not stand here again."""
    rules = {scope: _rules_of(scope) for scope in SCOPES}
    found = list(_run(rules["submission"], submission, ruleset, earlier=earlier))
    for organisation in submission.organisations:
        found += _run(rules["organisation"], organisation, ruleset)
    for entry in submission.entries:
        limits = limits_of(entry, ruleset)
        found += _run(rules["entry"], entry, ruleset, limits)
        for run_log in entry.logs:
            if run_log.error is None:
                found += _run(rules["log"], run_log, ruleset, limits)
    return sorted(found, key=lambda finding: (finding.path, finding.line, finding.rule))


def limits_of(entry: Entry, ruleset: RuleSet) -> Limits | None:
    """What holds for an entry; None for a benchmark that the rule set does not know."""
    try:
        benchmark = ruleset.benchmark(entry.benchmark)
    except RuleSetError:
        return None
    divisions = ruleset.values["divisions"]
    strictest = next(iter(divisions))  # holds for an entry that names a division of another suite
    division = entry.division if entry.division in divisions else strictest
    return Limits(ruleset=ruleset, benchmark=benchmark, division=division)


def _rules_of(scope: str) -> list[Rule]:
    """The scope's rules in order of their ids, so that a prerequisite runs before what needs it."""
    return [rule for _, rule in sorted(RULES.items()) if rule.scope == scope]


def _run(
    rules: list[Rule],
    subject: object,
    ruleset: RuleSet,
    limits: Limits | None = None,
    earlier: Submission | None = None,
) -> Iterator[Finding]:
    """Findings on one thing; a rule is skipped where its prerequisite found something, or was skipped itself."""
    contexts = {None: subject, "ruleset": ruleset, "limits": limits, "earlier": earlier}
    failed = set()
    for rule in rules:
        context = contexts[rule.context]
        if context is None or not failed.isdisjoint(rule.needs):
            failed.add(rule.id)
            continue
        findings = rule.findings(subject, context)
        for finding in islice(findings, MAX_FINDINGS):
            failed.add(rule.id)
            yield finding
        if num_more := sum(1 for _ in findings):
            yield replace(finding, line=0, message=f"{num_more} more findings of this rule", expected="", found="")
