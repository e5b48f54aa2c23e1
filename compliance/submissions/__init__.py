# SPDX-License-Identifier: Apache-2.0
"""The tree of a submission.

layout.py        where files are; reader.py: a tree -> organizations, entries, logs
rules_choice.py  the rule set that a submission is checked by
packaging.py     run logs -> a submission; template.py, source_code.py: what it starts from
borrowing.py     hyperparameters taken over from another submitter

Imports: rulesets, files, mllog.
"""
