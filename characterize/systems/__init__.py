# SPDX-License-Identifier: Apache-2.0
"""Declared systems, one TOML file each, read by characterize.models.declared_system.

Both files are the case study of HPC AI500 V2.0 (tables 9 to 11, section 7.4, figures 9 and 15).
"""
