# SPDX-License-Identifier: Apache-2.0
"""Packs many small files into few archives: `python -m harness.archive`.

archive.py   tar files in zstd frames, with an index: packing and reading

Imports: harness.data.
"""
