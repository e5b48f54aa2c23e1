# SPDX-License-Identifier: Apache-2.0
"""`report PATH --output report.html`: write one self-contained page. The exit code is 0 whatever the findings are."""

import argparse

from compliance.files import atomic_write
from compliance.reports import findings_text, page
from compliance.reports.tables import printable
from compliance.review import review


def run(arguments: argparse.Namespace) -> int:
    with atomic_write.open_file(arguments.output) as file:
        outcome = review(arguments.path, arguments.rules, waived_by=arguments.waivers)
        page.write(outcome, file, arguments.output.absolute().parent)
    lines = (f"rules {outcome.choice}", findings_text.verdict(outcome), str(arguments.output))
    print("\n".join(map(printable, lines)))
    return 0
