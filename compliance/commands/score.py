# SPDX-License-Identifier: Apache-2.0
"""`score PATH`: compute time to train, throughput or VFLOPS of every entry whose benchmark the rule set knows."""

import argparse
import sys

from compliance.commands import _output
from compliance.reports import findings_formats, score_formats
from compliance.reports.tables import printable
from compliance.review import Review, review


def run(arguments: argparse.Namespace) -> int:
    with _output.open_output(arguments) as file:
        outcome = review(arguments.path, arguments.rules, waived_by=arguments.waivers)
        _name_unscored(outcome)
        rendered = score_formats.FORMATS[arguments.format](outcome)
        text = rendered if isinstance(rendered, str) else findings_formats.as_text(rendered)
        accepted = [verdict for score, verdict in outcome.scored if score.scored and verdict == "accepted"]
        summary = f"{len(accepted)} of {len(outcome.scored)} entries are scored and accepted\n"
        _output.emit(text, file, arguments, outcome.choice, summary=summary)
    return 0


def _name_unscored(outcome: Review) -> None:
    for entry in outcome.entries:
        if entry.score is None:
            label, rules = printable(entry.entry.label), outcome.ruleset.file_name
            print(f"not scored: {label}, a benchmark that {rules} does not know", file=sys.stderr)
