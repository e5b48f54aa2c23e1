# SPDX-License-Identifier: Apache-2.0
"""Data sets on disk and the batches that a rank reads from them.

manifest.py           what manifest.json says of a data set; checks.py: checks before it is read
node_parts.py         the part of a data set that one node holds
sampler.py            which samples a rank takes in which step
loader.py             batches, read ahead by threads or processes
preparation.py        what prepare and synthesize commands share

Imports: harness.distributed, harness.progress and harness.cli.
"""
