# SPDX-License-Identifier: Apache-2.0
"""`score PATH`: compute time to train, throughput or VFLOPS of every entry whose benchmark the rule set knows."""

import argparse
import sys

from compliance.commands import _output
from compliance.reports import findings_formats, score_formats
from compliance.reports.tables import printable
from compliance.review import read_and_choose
from compliance.scoring import score


def run(arguments: argparse.Namespace) -> int:
    submission, choice = read_and_choose(arguments.path, arguments.rules)
    scores = score.score(submission, choice.ruleset)
    for entry in submission.entries:
        if entry.benchmark not in choice.ruleset.values["benchmarks"]:
            where = printable(entry.label)
            print(f"not scored: {where}, a benchmark that {choice.ruleset.file_name} does not know", file=sys.stderr)
    rendered = score_formats.FORMATS[arguments.format](choice, scores)
    text = rendered if isinstance(rendered, str) else findings_formats.as_text(rendered)
    num_valid = sum(one.valid for one in scores)
    summary = f"{num_valid} valid of {len(scores)} scored entries\nrules {printable(str(choice))}\n"
    _output.emit(text, arguments, choice, summary=summary)
    return 0
