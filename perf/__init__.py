# SPDX-License-Identifier: Apache-2.0
"""Speed measurements against a named peer or the machine's own limit, in one run.

Imports: everything; nothing imports perf.
"""
