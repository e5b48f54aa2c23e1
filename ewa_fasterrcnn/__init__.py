# SPDX-License-Identifier: Apache-2.0
"""Extreme Weather Analytics of HPC AI500 V2.0: a Faster R-CNN finds storms in the fields of a climate model."""
