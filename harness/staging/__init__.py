# SPDX-License-Identifier: Apache-2.0
"""Copies a data set to every node's own storage and reads each file once in all: `python -m harness.staging`.

stage.py             the command and the algorithm
units.py             the data set, cut into units of a few megabytes
node_exchange.py     the exchange between the nodes, in a ring
staging_progress.py  the bar on a terminal, or lines in a job's output file
partial_copy.py      the copy while it arrives, TARGET.partial
direct_io.py         ranges of files, read and written past the page cache
streaming_sha256.py  the checksum of a file whose ranges arrive in any order

Imports: harness.data, harness.archive, harness.distributed.
"""
