# SPDX-License-Identifier: Apache-2.0
"""The report page's template and style sheet; characterize.commands.report fills them."""
