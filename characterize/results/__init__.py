# SPDX-License-Identifier: Apache-2.0
"""Results as files and tables.

result.py    one result as a JSON file
machine.py   the machine on which it was measured
tables.py    text tables, and numbers with units

Imports: compliance.files and harness.
"""
