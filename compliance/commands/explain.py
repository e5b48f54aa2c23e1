# SPDX-License-Identifier: Apache-2.0
"""`explain RULE`: explain a rule; `explain`: list all rules; `explain --all`: explain all rules in Markdown."""

import argparse

from compliance.files import atomic_write
from compliance.reports import rule_docs


def run(arguments: argparse.Namespace) -> int:
    if arguments.rule:
        text = rule_docs.rule(arguments.rule)
    else:
        text = rule_docs.readme() if arguments.all else rule_docs.listing()
    if arguments.output is not None:
        atomic_write.write(arguments.output, text)
    else:
        print(text, end="")
    return 0
