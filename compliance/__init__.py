# SPDX-License-Identifier: Apache-2.0
"""Checks and scores benchmark run logs: `python -m compliance --help`.

mllog.py      log lines -> events; review.py: a submission read, checked and scored
commands/     one file a command
submissions/  the tree of a submission: reading, packaging, borrowing, choosing its rule set
rulesets/     rules/*.toml -> RuleSet, constraints on values
checks/       the rules; scoring/: scores and convergence
reports/      findings and scores as text, JSON, HTML, SARIF, JUnit
files/        TOML, atomic writes, errors

Imports: rules (data) only. Never PyTorch, harness or a benchmark.
"""
