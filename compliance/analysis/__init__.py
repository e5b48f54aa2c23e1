# SPDX-License-Identifier: Apache-2.0
"""The tables and figures of the MLPerf HPC and HPC AI500 papers, as numbers computed from logs alone.

run_figures.py, entry_figures.py   one run and one entry; spread.py: a mean with its deviation
variability.py                     run-to-run variation: how much is due to epochs, how much to throughput
tables.py                          Tables 4 to 6; hpc_ai500.py: the tables of HPC AI500's section 8
comparison.py                      two rounds: what became faster, by hardware, by epochs, by software
table.py                           Table: columns and rows, before they become text, CSV or JSON

May import: scoring, submissions, rulesets, files; never matplotlib, which compliance/reports/pictures uses.
"""
