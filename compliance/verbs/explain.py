# SPDX-License-Identifier: Apache-2.0
"""`explain RULE`: what a rule asks; `explain`: all rules, a line each; `explain --all`: all of them in Markdown."""

import argparse

from compliance import explain, report


def run(arguments: argparse.Namespace) -> int:
    if arguments.rule:
        text = explain.rule(arguments.rule)
    else:
        text = explain.readme() if arguments.all else explain.listing()
    if arguments.output is not None:
        report.write(text, arguments.output)
    else:
        print(text, end="")
    return 0
