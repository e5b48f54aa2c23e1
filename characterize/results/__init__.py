# SPDX-License-Identifier: Apache-2.0
"""Results as files.

result.py   a result as a JSON file; machine.py: the machine that it was measured on
tables.py   text tables
"""
