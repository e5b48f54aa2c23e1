# SPDX-License-Identifier: Apache-2.0
"""Finds devices that compute wrongly, or more slowly than the others: `python -m harness.verify`.

trial.py      what one device shows: its operators, the bits of a replayed training step, its speeds
network.py    the network of that step
findings.py   devices that are wrong, differ from others of their kind, or are slow
report.py     the table of the command, and its JSON

Imports: harness.distributed, harness.operator_check and harness.precision.
"""
