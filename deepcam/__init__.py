# SPDX-License-Identifier: Apache-2.0
"""DeepCAM: segmentation of extreme weather in climate simulations, the second MLPerf HPC benchmark."""
