# SPDX-License-Identifier: Apache-2.0
"""Measurements of a node while it trains.

node_monitor.py  utilization, memory, I/O and network over time
energy.py        joules between two moments; nvml.py: counters of NVIDIA accelerators

Imports: nothing of harness outside this package.
"""
