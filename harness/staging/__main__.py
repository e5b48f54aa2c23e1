# SPDX-License-Identifier: Apache-2.0
"""`python -m harness.staging` runs the command of stage.py."""

import sys

from harness import cli
from harness.staging.stage import main


def console() -> None:
    """Run as a program of its own: hpc-stage, or python -m harness.staging."""
    sys.exit(cli.exit_code(main))


if __name__ == "__main__":
    console()
