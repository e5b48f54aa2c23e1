# SPDX-License-Identifier: Apache-2.0
"""`report PATH --output report.html`: one self-contained page. 0 whatever the page says: it is written for readers."""

import argparse

from compliance.files.errors import UserError
from compliance.reports import findings_formats, page
from compliance.review import review


def run(arguments: argparse.Namespace) -> int:
    outcome = review(arguments.path, arguments.rules)
    try:
        page.write(outcome.submission, outcome.ruleset, outcome.findings, outcome.scores, arguments.output)
    except OSError as error:
        raise UserError(f"{arguments.output}: cannot be written: {error.strerror}") from None
    print(f"{findings_formats.verdict(outcome)}{arguments.output}")
    return 0
