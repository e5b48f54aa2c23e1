# SPDX-License-Identifier: Apache-2.0
"""`check PATH`: what breaks the rules. 0 where nothing does, else 1."""

import argparse

from compliance import report
from compliance.review import review
from compliance.verbs import output


def run(arguments: argparse.Namespace) -> int:
    outcome = review(arguments.path, arguments.rules)
    text = report.render(outcome, arguments.format, show_all=arguments.all)
    output.emit(text, arguments, outcome.choice, summary=report.verdict(outcome))
    return 0 if outcome.ok else 1
