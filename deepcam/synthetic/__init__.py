# SPDX-License-Identifier: Apache-2.0
"""Simulated climate.

climate.py    the fields
storms.py     storms in them
labelling.py  labels computed from the fields
preview.py    pictures of samples
"""
