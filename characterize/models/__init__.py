# SPDX-License-Identifier: Apache-2.0
"""Pure functions of measurements.

roofline.py, bandwidth.py, kernel_time.py      upper bounds and kernel times
throughput.py, time_to_train.py, scaling.py    predictions; validation.py: their errors on public results
declared_system.py                             a system described in a TOML file
figure_of_merit.py                             a proposed system over a reference system

Imports: compliance, results.
"""
