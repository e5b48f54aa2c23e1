# SPDX-License-Identifier: Apache-2.0
"""Declared systems, one TOML file each, read by characterize.models.declared_system.

They are the case study of HPC AI500 V2.0 (tables 9 to 11, sections 7.4 and 8, figures 9, 12 and 15): one node of eight
V100, two nodes, and eight nodes.
"""
