# SPDX-License-Identifier: Apache-2.0
"""Checks and scores benchmark run logs: `python -m compliance --help`.

mllog.py       a log's lines -> run_log.RunLog; signature.py: the numbers by which a copy of it is recognized
log_digest.py  the chain of digests in a log, which the harness writes and a rule verifies
review.py      reads, checks and scores a submission; entry_results.py: its entries, in several processes
processes.py   work shared among the cores
commands/      one file per command
submissions/   the tree of a submission: reading, packaging, borrowing, choosing its rule set
rulesets/      rules/*.toml -> RuleSet, constraints on values
checks/        the rules
scoring/       scores and convergence
reports/       findings and scores as text, JSON, HTML, SARIF, JUnit
files/         bounded reading, TOML, JSON, atomic writes, errors

May import: rules (data) only; never PyTorch, harness or a benchmark.
"""
