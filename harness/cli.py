# SPDX-License-Identifier: Apache-2.0
"""The command line that the train commands of all benchmarks share, and the exit codes of all commands.

def main() -> None:
    arguments = command.parser(__doc__).parse_args()
    ...

if __name__ == "__main__":
    sys.exit(command.exit_code(main))
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from harness.signals import Terminated


def parser(description: str) -> argparse.ArgumentParser:
    """Options of a train command; hyperparameters have none, they are swapped by passing another file."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("--config", type=Path, required=True, metavar="FOLDER", help="folder of hyperparameters.toml and system.toml")
    add("--hyperparameters", type=Path, metavar="FILE", help="in place of the folder's hyperparameters.toml")
    add("--system", type=Path, metavar="FILE", help="in place of the folder's system.toml")
    add("--data", type=expanded, metavar="FOLDER", help="prepared data set, in place of the one that system.toml names")
    add("--output", type=Path, default=Path("result_0.txt"), metavar="FILE", help="event log (%(default)s)")
    add("--seed", type=positive, metavar="N", help="seed of the run, above 0 (drawn where it is left out, and logged)")
    add("--resume", action="store_true", help="go on from the last checkpoint of --output, where the run has begun")
    return options


def expanded(text: str) -> Path:
    """An option's path; a variable in it is each node's own, as where harness.staging put the data."""
    return Path(os.path.expandvars(text))


def documented_parser(module: str, description: str) -> argparse.ArgumentParser:
    """A parser for `python -m MODULE`, without options; its help begins with the description as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def positive(text: str) -> int:
    """An option's whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {number}, expected a whole number above 0")
    return number


def report(name: str, work: Callable[[], str], *, resumes: bool = False) -> int:
    """Do the work of a command that makes or checks data, and print what it says; the exit code as below.

    `resumes`: the same command goes on where this one was interrupted.
    """
    try:
        print(work())
    except (ValueError, OSError, BrokenProcessPool) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted{'; the same command goes on from here' if resumes else ''}", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def exit_code(main: Callable[[], int | None]) -> int:
    """Run a command: 2 and one line for what the user can fix, 130 for Ctrl-C, 143 for SIGTERM."""
    try:
        return main() or 0
    except Terminated:
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except ValueError as error:
        if type(error) is ValueError:  # errors for users are subclasses of it; a plain one is a fault of ours
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
