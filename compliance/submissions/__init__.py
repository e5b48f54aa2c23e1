# SPDX-License-Identifier: Apache-2.0
"""The tree of a submission.

layout.py        places of files; reader.py: reads a tree as organizations, entries and logs; hardware.py: their systems
rules_choice.py  the rule set that a submission is checked by
packaging.py     makes a submission from run logs, which run_files.py finds; entry_files.py: the files around results
template.py      submission_template/; source_code.py: the code that ran
borrowing.py     hyperparameters borrowed from another submitter

May import: rulesets, files, mllog.
"""
