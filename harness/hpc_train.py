# SPDX-License-Identifier: Apache-2.0
"""Train one of the benchmarks: the train command of its package.

hpc-train cosmoflow --config cosmoflow/configs/demo --data output/data       # python -m cosmoflow.train ...
hpc-train cosmoflow --help
srun hpc-train deepcam --config deepcam/configs/closed --data /scratch/deepcam
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from compliance import command_line
from compliance.rulesets import ruleset
from harness import cli


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Run `BENCHMARK OPTIONS`; the benchmark's options are checked before PyTorch is imported."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = command_line.command("harness.hpc_train", __doc__)
    verbs = options.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for benchmark in benchmarks():
        module = f"{benchmark}.train"
        verb = verbs.add_parser(benchmark, help=f"python -m {module}", description=command_line.docstring(module))
        cli.add_train_options(verb)
    command_line.complete(options)
    parsed = options.parse_args(given)
    command_line.require("train")
    return import_module(f"{parsed.benchmark}.train").main(given[1:])


def benchmarks() -> list[str]:
    """Return the benchmarks of all rule sets whose packages are installed."""
    known = {name for rules in ruleset.names() for name in ruleset.load(rules).values["benchmarks"]}
    return sorted(name for name in known if find_spec(name) and find_spec(f"{name}.train"))


def console() -> None:
    """Run as a program of its own."""
    sys.exit(cli.exit_code(main))


if __name__ == "__main__":
    console()
