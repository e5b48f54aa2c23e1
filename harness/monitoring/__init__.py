# SPDX-License-Identifier: Apache-2.0
"""What a node does while it trains.

node_monitor.py  utilization, memory, I/O and network over time
energy.py        joules between two moments; nvml.py: NVIDIA's counters

Imports: nothing of harness outside this package.
"""
