# SPDX-License-Identifier: Apache-2.0
"""Where a verb's text goes: standard output, or --output's file with a word about it on standard output."""

import argparse
import sys

from compliance.files import atomic_write
from compliance.reports.tables import printable
from compliance.submissions.rules_choice import RuleSetChoice


def emit(text: str, arguments: argparse.Namespace, choice: RuleSetChoice, *, summary: str) -> None:
    """Machine formats hold no reason for the rule set: it goes to standard error, out of the way of pipes."""
    if arguments.output is not None:
        atomic_write.write(arguments.output, text)
        print(f"{arguments.output}: {summary}", end="")
        return
    if arguments.format != "text":
        print(f"rules {printable(str(choice))}", file=sys.stderr)
    print(text, end="")
