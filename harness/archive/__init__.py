# SPDX-License-Identifier: Apache-2.0
"""Many small files in few archives: `python -m harness.archive`.

archive.py   tar in zstd frames with an index: packing, reading

Imports: harness.data.
"""
