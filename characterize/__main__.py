# SPDX-License-Identifier: Apache-2.0
"""Measure which resources bound a system under the benchmarks, and predict time to train at another scale.

    python -m characterize roofline --output output/characterize
    python -m characterize breakdown cosmoflow --output output/characterize
    python -m characterize report --output output/characterize

Each verb prints a table and writes its result as JSON and its picture as PNG and SVG into the output folder. With the
defaults a verb takes about a minute on two idle cores; --full measures everything.
"""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from compliance import command_line
from compliance.files import atomic_write
from harness import cli

VERBS = {
    "kernels": "GEMM, convolution, recurrent and attention kernels",
    "allreduce": "collective operations over message size",
    "storage": "reads of the benchmarks' own formats, cold and warm",
    "roofline": "ceilings of the machine with the benchmarks placed under them",
    "breakdown": "where a training step's time goes",
    "scaling": "throughput over ranks, weak and strong",
    "predict": "time to train at another scale, validated on public rounds",
    "fom": "figures of merit of a proposed system over a reference system",
    "report": "all results of a folder as one page",
}

WIDTH_OF_FILES = 120
"""Width of tables in columns if the output is a file or a pipe."""


def main(arguments: list[str] | None = None) -> int:
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    from characterize.measure.ranks import is_silent  # PyTorch takes seconds, and --help does not wait for it

    atomic_write.check_folder(options.output)  # before minutes of measuring
    result = options.module.measure(options)
    if result is not None and not is_silent():  # `report` writes its page itself and has no result
        _print_and_write(result, options)
    return 0


def _print_and_write(result: Any, options: argparse.Namespace) -> None:
    from rich.console import Console

    from characterize.pictures import style
    from characterize.results.tables import show

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_FILES)
    for table in options.module.tables(result):
        show(table, console)
    if result.depends_on_load and result.machine.is_busy:
        console.print(f"{result.machine.load_warning}\n")
    written = [result.write(options.output), *style.write(options.module.figures(result), options.output)]
    written += _write_documents(options.module, result, options.output)
    console.print("\n".join(str(path) for path in written), highlight=False, markup=False, soft_wrap=True)


def _write_documents(module: ModuleType, result: Any, folder: Path) -> list[Path]:
    """Write the further files that some verbs have, such as a worksheet as CSV."""
    texts = module.documents(result) if hasattr(module, "documents") else {}
    for name, text in texts.items():
        atomic_write.write(folder / name, text)
    return [folder / name for name in texts]


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Import the chosen verb's module only, so that --help does not wait for torch."""
    parser = command_line.command("characterize", __doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, summary in VERBS.items():
        options = verbs.add_parser(verb, help=summary, add_help=verb in arguments[:1])
        if verb in arguments[:1]:
            module = _module(verb)
            options.description = module.__doc__
            options.set_defaults(module=module)
            output = Path("output") / "characterize"
            options.add_argument("--output", type=Path, default=output, metavar="DIR", help="results (%(default)s)")
            options.add_argument("--full", action="store_true", help="all shapes, sizes and repeats: minutes to hours")
            module.add_options(options)
    command_line.complete(parser)
    return parser.parse_args(arguments)


def _module(verb: str) -> ModuleType:
    command_line.require("train", "characterize")
    # OpenMP reads this when torch is loaded. Spinning threads would compete with each other on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return import_module(f"characterize.commands.{verb}")


def console() -> None:
    """Run as a program of its own: hpc-characterize, or python -m characterize."""
    sys.exit(cli.exit_code(main))


if __name__ == "__main__":
    console()
