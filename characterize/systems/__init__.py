# SPDX-License-Identifier: Apache-2.0
"""Systems that were declared rather than measured, one TOML file each; characterize.models.declared_system reads them.

The two here are the case study of HPC AI500 V2.0 in its own numbers (tables 9 to 11, section 7.4, figures 9 and 15).
"""
