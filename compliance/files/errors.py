# SPDX-License-Identifier: Apache-2.0
"""UserError: a mistake that the user can fix. Its text names the file, the key, what was found and what is expected."""

from collections.abc import Iterable


class UserError(ValueError):
    """Base class of all such errors; command lines print the text as one line and exit with 2."""

    same_on_all_ranks = False
    """True for an error that all processes of a job raise: only the first one prints it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Words for a message about an unknown name: `did you mean ...?` if a known one is close, else all known names."""
    from difflib import get_close_matches  # only after a mistake

    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
