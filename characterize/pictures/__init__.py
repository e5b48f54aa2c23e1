# SPDX-License-Identifier: Apache-2.0
"""One picture a verb, by matplotlib without a display; style.py holds what they share."""
