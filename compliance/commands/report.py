# SPDX-License-Identifier: Apache-2.0
"""`report PATH --output report.html`: write one self-contained page. The exit code is 0 whatever the findings are."""

import argparse

from compliance.reports import findings_text, page
from compliance.review import review


def run(arguments: argparse.Namespace) -> int:
    outcome = review(arguments.path, arguments.rules, waived_by=arguments.waivers)
    page.write(outcome, arguments.output)
    print(f"rules {outcome.choice}\n{findings_text.verdict(outcome)}\n{arguments.output}")
    return 0
