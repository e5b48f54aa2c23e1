# SPDX-License-Identifier: Apache-2.0
"""Findings and scores as people and programs read them.

findings_formats.py, score_formats.py  text, JSON, CSV, Markdown; sarif.py, junit.py; tables.py: columns of text
page.py, pages/                        the HTML report
rule_docs.py                           `explain` and rules/README.md
hyperparameter_diff.py                 the values in which two entries differ

Imports: checks, scoring, submissions, rulesets, files.
"""
