# SPDX-License-Identifier: Apache-2.0
"""`python -m harness.campaign`: the command of campaign.py."""

import sys

from harness import cli
from harness.campaign.campaign import main

if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
