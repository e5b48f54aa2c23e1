# SPDX-License-Identifier: Apache-2.0
"""Simulated weather with storms (weather.py)."""
