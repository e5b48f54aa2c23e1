# SPDX-License-Identifier: Apache-2.0
"""The rules, one module a family, and the engine that runs them over a submission.

registry.py         Rule, Finding, Fault, EntryRules and @rule; values.py: logged values against constraints
log.py              L: lines, keys, marks and epoch numbers of a log; text.py: text that reads in two ways
digests.py          L: the chain of digests in a log
timing.py           T: the clock; plausible.py: times that a real run does not have
witnesses.py        T, H: throughput, latencies and steps against times, samples and batch
results.py          R: the runs of an entry; layout.py: files and folders; copies.py: logs that are copies of others
quality.py          Q: evaluations
hyperparameters.py  H: the configuration of the runs; borrowed.py: hyperparameters borrowed from another submitter
system.py           S: system descriptions
convergence.py      C: epochs to converge
hpc_ai500.py        rules of HPC AI500 only, with ids in 5xx
package.py          P: code and power logs; template.py: what is left to fill in; signed.py: digests of all logs and
                    their signature; waivers.py: accepted findings

May import: compliance.scoring, submissions, rulesets, files, mllog and run_log. New modules are added to FAMILIES.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from compliance.checks import (
    borrowed,
    convergence,
    copies,
    digests,
    hpc_ai500,
    hyperparameters,
    layout,
    log,
    package,
    plausible,
    quality,
    results,
    signed,
    system,
    template,
    text,
    timing,
    waivers,
    witnesses,
)
from compliance.checks.registry import RULES, EntryRules, Fault, Finding, Rule
from compliance.rulesets.ruleset import RuleSet, RuleSetError
from compliance.submissions.log_digests import AllowedSigners
from compliance.submissions.reader import Entry, Submission

FAMILIES = (
    log,
    digests,
    text,
    timing,
    plausible,
    witnesses,
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
    signed,
    waivers,
)

MAX_FINDINGS = 1000  # per rule and log or entry; further ones are only counted, to bound memory
MAX_FINDINGS_OF_ENTRIES = 40_000  # of all entries together, about 100 MB


def check(submission: Submission, ruleset: RuleSet, earlier: Submission | None = None) -> list[Finding]:
    """Findings of all rules, sorted by path and line; logs of the round `earlier` must not appear again."""
    most = findings_of_entry(len(submission.entries))
    by_entry = [check_entry(entry, ruleset, rules_for(entry, ruleset), most) for entry in submission.entries]
    return in_order([*chain(*by_entry), *check_whole(submission, ruleset, earlier)])


def findings_of_entry(num_entries: int) -> int:
    """How many findings each of so many entries may have; further ones are counted."""
    return max(100, MAX_FINDINGS_OF_ENTRIES // max(1, num_entries))


def check_entry(entry: Entry, ruleset: RuleSet, limits: EntryRules | None, most: int) -> list[Finding]:
    """Findings of the rules on entries and logs, at most so many, and the numbers of further ones by rule."""
    findings = list(_run(_rules_of("entry"), entry, ruleset, limits))
    rules, surplus = _rules_of("log"), Counter[str]()
    for run_log in entry.logs:
        if run_log.error is None:
            findings += _run(rules, run_log, ruleset, limits)
            surplus.update(finding.rule for finding in findings[most:])
            del findings[most:]
    return [*findings, *(_more(entry.folder, rule, number) for rule, number in sorted(surplus.items()))]


def _more(path: Path, rule: str, number: int) -> Finding:
    return RULES[rule].finding(Fault(path, f"{number} more findings of this rule"))


def check_whole(
    submission: Submission,
    ruleset: RuleSet,
    earlier: Submission | None = None,
    signers: AllowedSigners | None = None,
) -> list[Finding]:
    """Findings of the rules on organizations and on the whole submission."""
    findings = list(_run(_rules_of("submission"), submission, ruleset, earlier=earlier))
    signers = signers or AllowedSigners()
    for organization in submission.organizations:
        findings += _run(_rules_of("organization"), organization, ruleset, signers=signers)
    return findings


def in_order(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.path, finding.line, finding.rule))


def rules_for(entry: Entry, ruleset: RuleSet) -> EntryRules | None:
    """The rules that apply to an entry; None for a benchmark that the rule set does not know."""
    try:
        benchmark = ruleset.benchmark(entry.benchmark)
    except RuleSetError:
        return None
    divisions = ruleset.values["divisions"]
    strictest = next(iter(divisions))  # for an entry that names a division of another suite
    division = entry.division if entry.division in divisions else strictest
    return EntryRules(ruleset=ruleset, benchmark=benchmark, division=division)


def _rules_of(scope: str) -> list[Rule]:
    """The scope's rules in order of their ids: a prerequisite runs before the rules that need it."""
    return [rule for _, rule in sorted(RULES.items()) if rule.scope == scope]


def _run(
    rules: list[Rule],
    subject: object,
    ruleset: RuleSet,
    limits: EntryRules | None = None,
    earlier: Submission | None = None,
    signers: AllowedSigners | None = None,
) -> Iterator[Finding]:
    """Findings on one subject; a rule is skipped if its prerequisite found something or was skipped itself."""
    contexts = {None: subject, "ruleset": ruleset, "limits": limits, "earlier": earlier, "signers": signers}
    failed: set[str] = set()
    for rule in rules:
        context = contexts[rule.context]
        if context is None or (failed and not failed.isdisjoint(rule.needs)):
            failed.add(rule.id)
            continue
        faults = rule.faults(subject, context)
        first = next(faults, None)
        if first is None:  # the usual case, and fast: a round has a hundred thousand calls of rules
            continue
        failed.add(rule.id)
        for fault in chain((first,), islice(faults, MAX_FINDINGS - 1)):
            yield rule.finding(fault)
        if num_more := sum(1 for _ in faults):
            yield _more(first.path, rule.id, num_more)
