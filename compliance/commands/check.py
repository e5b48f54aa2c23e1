# SPDX-License-Identifier: Apache-2.0
"""`check PATH`: report what breaks the rules. The exit code is 0 if nothing does, else 1."""

import argparse

from compliance.commands import _output
from compliance.files.errors import UserError
from compliance.reports import findings_formats, hyperparameter_diff
from compliance.review import Review, review
from compliance.submissions.reader import read


def run(arguments: argparse.Namespace) -> int:
    if arguments.diff is not None and arguments.format not in ("text", "json"):
        raise UserError(f"--diff: found --format {arguments.format}, expected text or json")
    outcome = review(arguments.path, arguments.rules, earlier=arguments.against)
    text = findings_formats.render(
        outcome, arguments.format, show_all=arguments.all, differences=_differences(outcome, arguments)
    )
    _output.emit(text, arguments, outcome.choice, summary=findings_formats.verdict(outcome))
    return 0 if outcome.ok else 1


def _differences(outcome: Review, arguments: argparse.Namespace) -> list[hyperparameter_diff.Difference]:
    if arguments.diff is None:
        return []
    return hyperparameter_diff.differences(outcome.submission, read(arguments.diff), outcome.ruleset)
