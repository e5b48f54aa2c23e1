# SPDX-License-Identifier: Apache-2.0
"""`python -m harness.archive` runs the command of archive.py."""

import sys

from compliance import command_line
from harness import cli

command_line.require("train")

from harness.archive.archive import main

if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
