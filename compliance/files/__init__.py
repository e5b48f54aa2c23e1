# SPDX-License-Identifier: Apache-2.0
"""Reading and writing of files.

errors.py           UserError, the base of all errors that a user can fix
regular_file.py     bounded reading of files that others have written
toml.py             TOML
atomic_write.py     files and folders that appear whole or not at all
lock.py             locks against a second process on the same output

Imports: the standard library, and tomlkit for writing TOML.
"""
