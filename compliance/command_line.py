# SPDX-License-Identifier: Apache-2.0
"""The one style of all command lines of the repository.

    options = command("compliance", __doc__)           # --help, --version, completion by the shell
    options.add_argument("--output", type=Path)
    arguments = options.parse_args()

Options are never abbreviated. A mistake is one line with the nearest option or value, and exit code 2.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from compliance.files.errors import nearest

DISTRIBUTION = "hpc-ai-bench"
LIBRARIES = {
    "train": (
        "google_crc32c",
        "h5py",
        "mlperf_logging",
        "numpy",
        "PIL",
        "psutil",
        "pycocotools",
        "rich",
        "torch",
        "zstandard",
    ),
    "characterize": ("sklearn",),
}
"""Modules that an extra of the installation brings; `characterize` brings those of `train` too."""
CHOICES = re.compile(r"invalid choice: (?P<found>.*?) \(choose from (?P<choices>.*)\)")


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, with suggestions, and with help texts as they are written."""

    def __init__(self, **settings: Any) -> None:
        style = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(**{**style, **settings})
        self._given: list[str] = []

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As the base class, but whatever it does not know is an error: nothing passes options on."""
        self._given = list(sys.argv[1:] if args is None else args)
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unexpected argument {unknown[0]}")
        return arguments, unknown

    def error(self, message: str) -> NoReturn:
        """Print the mistake in one line and exit with 2; an unknown option explains others, such as a missing one."""
        print(f"error: {self._unknown_option() or _with_nearest(message)} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)

    def _unknown_option(self) -> str:
        known = [text for action in self._actions for text in action.option_strings if text.startswith("--")]
        if not self._subparsers:
            for word in self._given:
                name = word.partition("=")[0]
                if name == "--":
                    break
                if name.startswith("--") and name not in known:
                    return f"unknown option {name}; {nearest(name, known)}"
        return ""


class Version(argparse.Action):
    """Print the version of the installation and exit. It is looked up only then: that takes longer than a parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(DISTRIBUTION, _version())
        parser.exit()


def command(module: str, description: str | None) -> Parser:
    """The parser of `python -m MODULE`, or of the console script that runs the module."""
    script = Path(sys.argv[0]).name
    parser = Parser(prog=script if script.startswith("hpc-") else f"python -m {module}", description=description)
    parser.add_argument("--version", action=Version, nargs=0, help="print the version")
    return parser


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell that asks for completions (register-python-argcomplete), and exit; otherwise do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # only when a shell asks

        argcomplete.autocomplete(parser)


def positive(text: str) -> int:
    """The whole number above 0 of an option."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {number}, expected a whole number above 0")
    return number


def docstring(module: str) -> str | None:
    """The head of a module, which describes its command, read without importing the module."""
    import ast  # only commands that ask for it

    package, _, name = module.rpartition(".")
    (folder, *_) = import_module(package).__path__
    return ast.get_docstring(ast.parse(Path(folder, f"{name}.py").read_text(encoding="utf-8")))


def require(*extras: str) -> None:
    """Exit with 2 and one line if libraries of these extras are not installed."""
    absent = {extra: [name for name in LIBRARIES[extra] if find_spec(name) is None] for extra in extras}
    for extra, names in absent.items():
        if names:
            install = f"python -m pip install '{DISTRIBUTION}[{extra}]'"
            print(f"error: not installed: {', '.join(names)}; install the extra [{extra}]: {install}", file=sys.stderr)
            sys.exit(2)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"


def _with_nearest(message: str) -> str:
    """A message about a wrong choice, with the nearest of the allowed values, else all of them."""
    match = CHOICES.search(message)
    if not match:
        return message
    choices = [choice.strip("'\"") for choice in match["choices"].split(", ")]
    found = match["found"].strip("'\"")
    return f"{message[: match.start()]}found {found}; {nearest(found, choices)}"
