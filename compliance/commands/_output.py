# SPDX-License-Identifier: Apache-2.0
"""Prints the text of a command, or writes it to the file of --output."""

import argparse
import sys

from compliance.files import atomic_write
from compliance.reports.tables import printable
from compliance.submissions.rules_choice import RuleSetChoice


def emit(text: str, arguments: argparse.Namespace, choice: RuleSetChoice, *, summary: str) -> None:
    """Print or write the text; `summary` is printed in its place when it goes to a file.

    Machine formats do not hold the reason for the rule set, so it is printed on standard error.
    """
    if arguments.output is not None:
        atomic_write.write(arguments.output, text)
        print(f"rules {printable(str(choice))}\n{arguments.output}: {summary}", end="")
        return
    if arguments.format != "text":
        print(f"rules {printable(str(choice))}", file=sys.stderr)
    print(text, end="")
