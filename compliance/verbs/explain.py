# SPDX-License-Identifier: Apache-2.0
"""`explain RULE`: what a rule asks; `explain`: all rules, a line each; `explain --all`: all of them in Markdown."""

import argparse

from compliance import explain, whole_file


def run(arguments: argparse.Namespace) -> int:
    if arguments.rule:
        text = explain.rule(arguments.rule)
    else:
        text = explain.readme() if arguments.all else explain.listing()
    if arguments.output is not None:
        whole_file.write(arguments.output, text)
    else:
        print(text, end="")
    return 0
