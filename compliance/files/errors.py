# SPDX-License-Identifier: Apache-2.0
"""UserError: what the user can fix. The text names file, key, what was found and what is expected."""


class UserError(ValueError):
    """Command lines print it as one line and exit with 2."""
