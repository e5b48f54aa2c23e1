# SPDX-License-Identifier: Apache-2.0
"""`report PATH --output report.html`: one self-contained page. 0 whatever the page says: it is written for readers."""

import argparse

from compliance import html, report
from compliance.errors import UserError
from compliance.review import review


def run(arguments: argparse.Namespace) -> int:
    outcome = review(arguments.path, arguments.rules)
    try:
        html.write(outcome.submission, outcome.ruleset, outcome.findings, outcome.scores, arguments.output)
    except OSError as error:
        raise UserError(f"{arguments.output}: cannot be written: {error.strerror}") from None
    print(f"{report.verdict(outcome)}{arguments.output}")
    return 0
