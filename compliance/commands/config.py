# SPDX-License-Identifier: Apache-2.0
"""`config FILE`: a hyperparameters.toml held to its rules before any node-hour burns. 0 where it stands, else 1."""

import argparse

from compliance.reports.tables import printable
from compliance.rulesets import hyperparameters_file


def run(arguments: argparse.Namespace) -> int:
    file = hyperparameters_file.read(arguments.file, arguments.benchmark)
    found = sorted(hyperparameters_file.faults(file))
    for fault in found:
        print(printable(f"{file.path}: {fault}"))
    counted = f"{len(found)} fault{'s' * (len(found) != 1)}"
    print(f"{'FAILED' if found else 'passed'}: {counted}; {file.benchmark.name} {file.division}, {file.rules.name}")
    return 1 if found else 0
