# SPDX-License-Identifier: Apache-2.0
"""Scores of entries from their logs.

score.py                  time to train and throughput; vflops.py: HPC AI500
phases.py, run_metrics.py times, epochs and rates of one run
reference_convergence.py  the reference's epochs by batch size; convergence_comparison.py: an entry beside it

Imports: submissions, rulesets, files, mllog.
"""
