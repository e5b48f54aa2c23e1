# SPDX-License-Identifier: Apache-2.0
"""Prints the text of a command, or writes it to the file of --output.

with open_output(arguments) as file:     # an output that cannot be written is reported before the work
    emit(text, file, arguments, choice, summary="12 scores\\n")
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from compliance.files import atomic_write
from compliance.reports.tables import printable
from compliance.submissions.rules_choice import RuleSetChoice


@contextmanager
def open_output(arguments: argparse.Namespace) -> Iterator[BinaryIO | None]:
    """The file of --output, which appears at the end of the block; None without --output."""
    if arguments.output is None:
        yield None
    else:
        with atomic_write.open_file(arguments.output) as file:
            yield file


def emit(
    text: str, file: BinaryIO | None, arguments: argparse.Namespace, choice: RuleSetChoice, *, summary: str
) -> None:
    """Print the text, or write it to the file and print `summary`.

    Machine formats do not hold the reason for the rule set, so it is printed on standard error.
    """
    if file is not None:
        file.write(text.encode("utf-8", "backslashreplace"))
        print(f"rules {printable(str(choice))}\n{printable(str(arguments.output))}: {summary}", end="")
        return
    if arguments.format != "text":
        print(f"rules {printable(str(choice))}", file=sys.stderr)
    print(text, end="")
