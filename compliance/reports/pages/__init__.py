# SPDX-License-Identifier: Apache-2.0
"""The report page: what it shows (entries, rankings, findings, charts) and its templates."""
