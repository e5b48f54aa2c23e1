# SPDX-License-Identifier: Apache-2.0
"""`compare ROUND ROUND ...`: what became faster from one round to the next, by hardware, by epochs and by software."""

import argparse
from itertools import pairwise

from compliance.analysis import comparison
from compliance.commands import _analysis
from compliance.files import atomic_write
from compliance.files.errors import UserError
from compliance.reports import analysis_formats
from compliance.reports.analysis_formats import Analysis
from compliance.reports.pictures import rounds
from compliance.reports.tables import printable


def run(arguments: argparse.Namespace) -> int:
    if len(arguments.rounds) < 2:
        raise UserError(f"compare: found {len(arguments.rounds)} round, expected two or more, the earliest first")
    if arguments.output is not None:
        atomic_write.check_folder(arguments.output)
    made, figures, choices = [], {}, []
    known = [(path.absolute().name, *_analysis.read(path, arguments.rules)) for path in arguments.rounds]
    for name, choice, _ in known:
        choices.append(f"{name}: {choice}")
    for (earlier, _, before), (later, _, after) in pairwise(known):
        pairs = comparison.compare(before, after)
        made.append(comparison.table(pairs, earlier, later))
        figures[made[-1].name] = (made[-1].title, rounds.draw(pairs, earlier, later))
    rules = "; ".join(choices)
    print(f"rules {printable(rules)}\n\n{analysis_formats.text(made)}", end="")
    if arguments.output is not None:
        title = "Comparison of rounds"
        analysis = Analysis(title=title, rules=rules, tables=made, drawings=_analysis.drawings(figures))
        _analysis.write(analysis, arguments.output)
    return 0
