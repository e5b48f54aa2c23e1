# SPDX-License-Identifier: Apache-2.0
"""`package RUNS --output DIR`: lay out run logs and the code that ran as a submission; name what is left to write."""

import argparse

from compliance.reports.tables import printable
from compliance.submissions.packaging import Options, package


def run(arguments: argparse.Namespace) -> int:
    options = Options(
        rules=arguments.rules,
        system=arguments.system,
        description=arguments.description,
        scaling=arguments.scaling,
        implementation=arguments.implementation,
        commit=arguments.commit,
    )
    packaged = package(arguments.runs, arguments.output, options)
    lines = [*packaged.entries, f"rules {packaged.choice}"]
    if packaged.to_write:
        lines += ["", "still to be written:", *(f"  {line}" for line in packaged.to_write)]
    print("\n".join(map(printable, [*lines, "", f"then: python -m compliance check {arguments.output}"])))
    return 0
