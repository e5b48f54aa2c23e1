# SPDX-License-Identifier: Apache-2.0
"""Findings as SARIF 2.1.0, which code-review tools show beside the lines. Waived findings are suppressed results."""

import os
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from compliance.checks.registry import Finding, Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "manual": "note", "waived": "note"}


def document(findings: Sequence[Finding], rules: Mapping[str, Rule]) -> dict:
    """One run of the checker: the findings, and the rules that they break."""
    named = sorted({finding.rule for finding in findings})
    driver = {"name": "hpc-ai-bench compliance", "rules": [_rule(rules[name]) for name in named]}
    results = [_result(finding, named.index(finding.rule)) for finding in findings]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(rule: Rule) -> dict:
    return {
        "id": rule.id,
        "name": rule.check.__name__,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": f"{rule.summary} Why: {rule.why}"},
        "help": {"text": f"Example: {rule.example} Fix: {rule.fix}"},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
    }


def _result(finding: Finding, rule_index: int) -> dict:
    expected = f", expected {finding.expected}" if finding.expected else ""
    # Percent-encoding keeps bytes of a path that are not text.
    place: dict[str, dict] = {"artifactLocation": {"uri": quote(os.fsencode(finding.path))}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    result = {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.message}{expected}"},
        "locations": [{"physicalLocation": place}],
    }
    if finding.severity == "waived":
        result["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return result
