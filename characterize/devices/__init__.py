# SPDX-License-Identifier: Apache-2.0
"""Peak rates of accelerators and processors, for predictions on devices that no public entry used.

device_table.py   reads devices.toml and tables of the same form

Imports: compliance.files and results.
"""
