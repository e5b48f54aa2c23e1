# SPDX-License-Identifier: Apache-2.0
"""`check PATH`: what breaks the rules. 0 where nothing does, else 1."""

import argparse

from compliance import difference, report
from compliance.errors import UserError
from compliance.review import Review, review
from compliance.submission import read
from compliance.verbs import output


def run(arguments: argparse.Namespace) -> int:
    if arguments.diff is not None and arguments.format not in ("text", "json"):
        raise UserError(f"--diff: found --format {arguments.format}, expected text or json")
    outcome = review(arguments.path, arguments.rules, earlier=arguments.against)
    text = report.render(
        outcome, arguments.format, show_all=arguments.all, differences=_differences(outcome, arguments)
    )
    output.emit(text, arguments, outcome.choice, summary=report.verdict(outcome))
    return 0 if outcome.ok else 1


def _differences(outcome: Review, arguments: argparse.Namespace) -> list[difference.Difference]:
    if arguments.diff is None:
        return []
    return difference.differences(outcome.submission, read(arguments.diff), outcome.ruleset)
