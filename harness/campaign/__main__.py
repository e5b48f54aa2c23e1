# SPDX-License-Identifier: Apache-2.0
"""`python -m harness.campaign` runs the command of campaign.py."""

import sys

from compliance.command_line import docstring
from harness import cli
from harness.campaign.plan import parser

cli.answer_early(__name__, parser(docstring("harness.campaign.campaign")))

from harness.campaign.campaign import main

if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
