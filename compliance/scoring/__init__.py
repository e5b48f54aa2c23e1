# SPDX-License-Identifier: Apache-2.0
"""Scores of entries, computed from their logs.

score.py                   time to train and throughput of an entry; vflops.py: its VFLOPS under HPC AI500
run_metrics.py             times, epochs and qualities of one run; phases.py: its minutes by phase
reference_convergence.py   epochs to converge of the reference, and the statistical test against them
convergence_comparison.py  an entry's epochs beside the reference's

May import: compliance.checks.registry, submissions, rulesets, files and mllog.
"""
