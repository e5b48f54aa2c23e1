# SPDX-License-Identifier: Apache-2.0
"""`report PATH --output report.html`: write one self-contained page. The exit code is 0 whatever the findings are."""

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
