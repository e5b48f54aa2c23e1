# SPDX-License-Identifier: Apache-2.0
"""`check PATH`: report what breaks the rules. The exit code is 0 if nothing does, else 1."""

import argparse
import sys
from dataclasses import replace

from compliance.commands import _output
from compliance.files.errors import UserError
from compliance.reports import findings_formats, findings_text, hyperparameter_diff, terminal
from compliance.review import Review, review
from compliance.submissions.reader import read


def run(arguments: argparse.Namespace) -> int:
    if arguments.diff is not None and arguments.format not in ("text", "json"):
        raise UserError(f"--diff: found --format {arguments.format}, expected text or json")
    with _output.open_output(arguments) as file:
        outcome = review(
            arguments.path,
            arguments.rules,
            earlier=arguments.against,
            waived_by=arguments.waivers,
            allowed_signers=arguments.allowed_signers,
        )
        outcome = replace(outcome, least_severity=arguments.severity)
        verdict = findings_text.verdict(outcome) + "\n"
        _output.emit(_text(outcome, arguments), file, arguments, outcome.choice, summary=verdict)
    return 0 if outcome.ok else 1


def _text(outcome: Review, arguments: argparse.Namespace) -> str:
    """The findings in the format that was asked for; in colour only on a terminal."""
    if arguments.quiet and arguments.format == "text":
        return findings_text.verdict(outcome) + "\n"
    paint = terminal.plain if arguments.output else terminal.paint_for(sys.stdout)
    return findings_formats.render(
        outcome, arguments.format, show_all=arguments.all, differences=_differences(outcome, arguments), paint=paint
    )


def _differences(outcome: Review, arguments: argparse.Namespace) -> list[hyperparameter_diff.Difference]:
    if arguments.diff is None:
        return []
    return hyperparameter_diff.differences(outcome.submission, read(arguments.diff), outcome.ruleset)
