# SPDX-License-Identifier: Apache-2.0
"""Facts about the entries of public rounds: batch size, epochs, throughput, staging; one row per entry.

facts.py       EntryFacts, and reading and writing tables of them
entries.csv    the entries of MLPerf HPC v0.7, v1.0 and v2.0
from_logs.py   makes such a table from logs; it made entries.csv

Imports: compliance, devices, results.
"""
