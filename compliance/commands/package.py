# SPDX-License-Identifier: Apache-2.0
"""`package RUNS --output DIR`: lay out run logs and the code that ran as a submission; list what is left to write."""

import argparse
from collections.abc import Sequence

from compliance.reports.tables import printable
from compliance.submissions import run_files
from compliance.submissions.log_digests import NAMESPACE
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
    lines += _paragraph("not packaged:", run_files.lines(packaged.skipped))
    lines += _paragraph("still to be written:", packaged.to_write)
    lines += _paragraph("to sign:", [f"ssh-keygen -Y sign -f KEY -n {NAMESPACE} {path}" for path in packaged.digests])
    print("\n".join(map(printable, [*lines, "", f"then: python -m compliance check {arguments.output}"])))
    return 0


def _paragraph(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []
