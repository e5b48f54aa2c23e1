# SPDX-License-Identifier: Apache-2.0
"""Where a verb's text goes: standard output, or --output's file with a word about it on standard output."""

import argparse
import sys

from compliance import whole_file
from compliance.choice import Choice
from compliance.tables import printable


def emit(text: str, arguments: argparse.Namespace, choice: Choice, *, summary: str) -> None:
    """Machine formats hold no reason for the rule set: it goes to standard error, out of the way of pipes."""
    if arguments.output is not None:
        whole_file.write(arguments.output, text)
        print(f"{arguments.output}: {summary}", end="")
        return
    if arguments.format != "text":
        print(f"rules {printable(str(choice))}", file=sys.stderr)
    print(text, end="")
