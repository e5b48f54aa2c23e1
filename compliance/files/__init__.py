# SPDX-License-Identifier: Apache-2.0
"""Reading and writing files.

errors.py           UserError
toml.py, toml.py
atomic_write.py     a file appears whole or not at all

Imports: the standard library.
"""
