# SPDX-License-Identifier: Apache-2.0
"""What all four benchmarks train with: a library of plain functions and context managers, not a framework.

config.py     the two TOML files -> frozen dataclasses, checked against the rules
launch.py     process group and device
run.py        the event log, its legal order, target and status
command.py    the options and exit codes of commands; train_command.py: what a train command was asked for
campaign.py   N runs -> a submission
"""
