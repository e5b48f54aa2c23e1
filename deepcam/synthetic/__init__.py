# SPDX-License-Identifier: Apache-2.0
"""Simulated climate: fields (climate.py), storms in them (storms.py), their labels (labelling.py), pictures (preview.py)."""
