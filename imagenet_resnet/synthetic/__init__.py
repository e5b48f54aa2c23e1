# SPDX-License-Identifier: Apache-2.0
"""Drawn pictures that can be learned (gratings.py)."""
