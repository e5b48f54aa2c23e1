# SPDX-License-Identifier: Apache-2.0
"""Optimizers and learning rates.

schedules.py          learning-rate schedules, as pure functions of time
optimizers.py         KerasSGD, LARS and LAMB, and the learning rate on the device
parameter_groups.py   parameters with and without weight decay

Imports: torch only.
"""
