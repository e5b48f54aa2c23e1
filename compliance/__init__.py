# SPDX-License-Identifier: Apache-2.0
"""Checks and scores benchmark run logs: `python -m compliance --help`. Never imports torch or the training code."""
