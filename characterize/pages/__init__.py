# SPDX-License-Identifier: Apache-2.0
"""Template and style sheet of the report page, filled by characterize.commands.report."""
