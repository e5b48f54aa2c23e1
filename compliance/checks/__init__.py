# SPDX-License-Identifier: Apache-2.0
"""Runs every rule over a submission. One module a family; importing them registers their rules."""

from collections.abc import Iterator
from itertools import chain, islice

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
from compliance.checks.registry import RULES, EntryRules, Fault, Finding, Rule
from compliance.rulesets.ruleset import RuleSet, RuleSetError
from compliance.submissions.reader import Entry, Submission

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
    of_entries = [check_entry(entry, ruleset, rules_for(entry, ruleset)) for entry in submission.entries]
    return in_order([*chain(*of_entries), *check_whole(submission, ruleset, earlier)])


def check_entry(entry: Entry, ruleset: RuleSet, limits: EntryRules | None) -> list[Finding]:
    """What the rules on entries and logs find."""
    found = list(_run(_rules_of("entry"), entry, ruleset, limits))
    rules = _rules_of("log")
    for run_log in entry.logs:
        if run_log.error is None:
            found += _run(rules, run_log, ruleset, limits)
    return found


def check_whole(submission: Submission, ruleset: RuleSet, earlier: Submission | None = None) -> list[Finding]:
    """What the rules on organizations and on the whole submission find."""
    found = list(_run(_rules_of("submission"), submission, ruleset, earlier=earlier))
    for organization in submission.organizations:
        found += _run(_rules_of("organization"), organization, ruleset)
    return found


def in_order(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.path, finding.line, finding.rule))


def rules_for(entry: Entry, ruleset: RuleSet) -> EntryRules | None:
    """What holds for an entry; None for a benchmark that the rule set does not know."""
    try:
        benchmark = ruleset.benchmark(entry.benchmark)
    except RuleSetError:
        return None
    divisions = ruleset.values["divisions"]
    strictest = next(iter(divisions))  # holds for an entry that names a division of another suite
    division = entry.division if entry.division in divisions else strictest
    return EntryRules(ruleset=ruleset, benchmark=benchmark, division=division)


def _rules_of(scope: str) -> list[Rule]:
    """The scope's rules in order of their ids, so that a prerequisite runs before what needs it."""
    return [rule for _, rule in sorted(RULES.items()) if rule.scope == scope]


def _run(
    rules: list[Rule],
    subject: object,
    ruleset: RuleSet,
    limits: EntryRules | None = None,
    earlier: Submission | None = None,
) -> Iterator[Finding]:
    """Findings on one thing; a rule is skipped where its prerequisite found something, or was skipped itself."""
    contexts = {None: subject, "ruleset": ruleset, "limits": limits, "earlier": earlier}
    failed = set()
    for rule in rules:
        context = contexts[rule.context]
        if context is None or (failed and not failed.isdisjoint(rule.needs)):
            failed.add(rule.id)
            continue
        faults = rule.faults(subject, context)
        first = next(faults, None)
        if first is None:  # as nearly always: a round is a hundred thousand calls of rules
            continue
        failed.add(rule.id)
        for fault in chain((first,), islice(faults, MAX_FINDINGS - 1)):
            yield rule.finding(fault)
        if num_more := sum(1 for _ in faults):
            yield rule.finding(Fault(first.path, f"{num_more} more findings of this rule"))
