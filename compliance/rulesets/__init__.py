# SPDX-License-Identifier: Apache-2.0
"""Rule sets as data: rules/*.toml, loaded into objects.

ruleset.py               RuleSet and Benchmark: a rule set with its parents merged in
constraint.py            Constraint: the values that a logged key may have; schedule.py: relations between several
hyperparameters_file.py  a hyperparameters.toml, checked against the rules that it names

May import: compliance.files and rules.
"""
