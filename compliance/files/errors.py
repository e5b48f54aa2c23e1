# SPDX-License-Identifier: Apache-2.0
"""UserError: a mistake that the user can fix. Its text names the file, the key, what was found and what is expected."""


class UserError(ValueError):
    """Base class of all such errors; command lines print the text as one line and exit with 2."""
