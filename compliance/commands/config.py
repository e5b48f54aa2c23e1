# SPDX-License-Identifier: Apache-2.0
"""`config FILE`: check a hyperparameters.toml against its rules before a run. The exit code is 0 or 1."""

import argparse

from compliance.reports.tables import printable
from compliance.rulesets import hyperparameters_file


def run(arguments: argparse.Namespace) -> int:
    file = hyperparameters_file.read(arguments.file, arguments.benchmark)
    faults = sorted(hyperparameters_file.faults(file))
    for fault in faults:
        print(printable(f"{file.path}: {fault}"))
    counted = f"{len(faults)} fault{'s' * (len(faults) != 1)}"
    print(f"{'FAILED' if faults else 'passed'}: {counted}; {file.benchmark.name} {file.division}, {file.rules.name}")
    return 1 if faults else 0
