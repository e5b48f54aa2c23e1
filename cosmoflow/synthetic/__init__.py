# SPDX-License-Identifier: Apache-2.0
"""Simulated universes (cosmology.py)."""
