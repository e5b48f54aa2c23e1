# SPDX-License-Identifier: Apache-2.0
"""Data sets on disk, and the batches that a rank reads from them.

manifest.py      the description of a data set, manifest.json
listings.py      manifest and index, read by one rank for all
checks.py        checks before a data set is read
node_parts.py    the part of a data set that one node holds
node_memory.py   memory that the ranks of a node share, for cached data
sampler.py       the samples of each step and rank
loader.py        batches, read ahead by threads or processes
dali.py          pipelines of NVIDIA DALI
preparation.py   code that the prepare and synthesize commands share

Imports: compliance.files, harness.distributed and harness.progress.
"""
