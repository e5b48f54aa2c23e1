# SPDX-License-Identifier: Apache-2.0
"""Figures of the MLPerf HPC paper, drawn with matplotlib from compliance/analysis.

style.py        look of all figures; drawings as SVG and PNG
time_split.py   Figure 1; compute.py: Figure 2; scaling.py: Figures 3 and 5; variation.py: run-to-run variation
rounds.py       two rounds: the causes of a change

Only the commands `analyze` and `compare` import this folder: matplotlib takes longer to load than `check` takes to run.
"""
