# SPDX-License-Identifier: Apache-2.0
"""Results as JSON files (result.py), the machine that they were measured on (machine.py), and text tables (tables.py)."""
