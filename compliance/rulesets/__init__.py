# SPDX-License-Identifier: Apache-2.0
"""Rules as data: rules/*.toml.

ruleset.py               a rule set with its parents merged
constraint.py            constraints on values
hyperparameters_file.py  a hyperparameters.toml, checked against its rules

Imports: files.
"""
