# SPDX-License-Identifier: Apache-2.0
"""One module per picture, drawn by matplotlib without a display; style.py has the shared style.

Imports: models and results.
"""
