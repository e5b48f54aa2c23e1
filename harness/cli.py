# SPDX-License-Identifier: Apache-2.0
"""The command line that the train commands of all benchmarks share, and the exit codes of all commands.

def main() -> None:
    arguments = cli.parser("cosmoflow.train", __doc__).parse_args()
    ...

if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
"""

import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from compliance.command_line import Parser, command, complete, positive, require
from compliance.files.errors import UserError
from harness.signals import Interrupts, Terminated

USER_ERROR = 2
"""Exit code for a mistake that the user can fix."""


def parser(module: str, description: str | None) -> Parser:
    """Options of a train command. Hyperparameters have no options: they are changed by passing another file."""
    options = command(module, description)
    add_train_options(options)
    return options


def add_train_options(options: ArgumentParser) -> None:
    """Add the options that all train commands share."""
    add = options.add_argument
    add("--config", type=Path, required=True, metavar="FOLDER", help="folder of hyperparameters.toml and system.toml")
    add("--hyperparameters", type=Path, metavar="FILE", help="use this file instead of hyperparameters.toml in FOLDER")
    add("--system", type=Path, metavar="FILE", help="use this file instead of system.toml in FOLDER")
    add("--data", type=expanded, metavar="FOLDER", help="prepared data set, instead of the one that system.toml names")
    add("--output", type=Path, default=Path("result_0.txt"), metavar="FILE", help="event log (%(default)s)")
    add("--seed", type=positive, metavar="N", help="seed of the run, above 0 (default: a random one, which is logged)")
    add("--resume", action="store_true", help="continue from the last checkpoint of --output, if there is one")


def synthesis_parser(module: str, description: str | None, *, train: int, validation: int) -> Parser:
    """Options that all synthesize commands share. The defaults are the data set of the benchmark's demo."""
    options = command(module, description)
    add = options.add_argument
    add("folder", type=Path, metavar="OUT", help="folder to write")
    add("--train", type=positive, default=train, metavar="N", help="samples to train on (%(default)s)")
    add("--validation", type=positive, default=validation, metavar="N", help="samples to evaluate on (%(default)s)")
    add("--seed", type=int, default=1, metavar="N", help="seed of the data, not of runs (%(default)s)")
    _add_workers(options)
    add("--preview", type=Path, metavar="FILE.png", help="draw a picture of the first samples")
    return options


def preparation_parser(module: str, description: str | None, *, raw: str) -> Parser:
    """Options that all prepare commands share; `raw` describes the downloaded data."""
    options = command(module, description)
    options.add_argument("raw", type=Path, nargs="?", metavar="RAW", help=raw)
    options.add_argument("out", type=Path, nargs="?", metavar="OUT", help="folder to write")
    _add_workers(options)
    options.add_argument("--verify", type=Path, metavar="FOLDER", help="compare every byte with the manifest instead")
    return options


def _add_workers(options: Parser) -> None:
    help_text = "parallel processes (%(default)s)"
    options.add_argument("--workers", type=positive, default=os.cpu_count(), metavar="N", help=help_text)


def answer_early(module: str, options: Parser) -> None:
    """Answer --help and mistakes in the options before the caller imports PyTorch, which takes seconds.

    Called with __name__ at the head of a command; does nothing if the module is imported.
    """
    if module == "__main__":
        complete(options)
        options.parse_args()
        require("train")


def expanded(text: str) -> Path:
    """The path of an option; each node expands the variables in it, as harness.staging does."""
    return Path(os.path.expandvars(text))


def report(name: str, work: Callable[[], str], *, resumes: bool = False) -> int:
    """Run the work of a command that makes or checks data, print its summary, and return the exit code.

    `resumes`: the same command continues after an interruption.
    """
    interrupts = Interrupts()
    interrupts.install()
    try:
        print(work())
    except (UserError, OSError, BrokenProcessPool) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as error:
        print(f"{name}: interrupted{'; the same command continues from here' if resumes else ''}", file=sys.stderr)
        return _code(error)
    finally:
        interrupts.restore()
    return 0


def exit_code(main: Callable[[], int | None]) -> int:
    """Run a command. Returns 2 after one line for a mistake of the user, 130 for Ctrl-C, 143 for SIGTERM."""
    try:
        return main() or 0
    except KeyboardInterrupt as error:
        return _code(error)
    except UserError as error:
        if not error.same_on_all_ranks or _is_first_rank():
            print(f"error: {error}", file=sys.stderr)
        return USER_ERROR


def _is_first_rank() -> bool:
    from harness.distributed import launchers  # few commands have ranks

    try:
        return launchers.find(os.environ).rank == 0
    except UserError:
        return True


def _code(error: KeyboardInterrupt) -> int:
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
