# SPDX-License-Identifier: Apache-2.0
"""`python -m harness.archive` runs the command of archive.py."""

import sys

from harness import cli
from harness.archive.archive import main

if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
