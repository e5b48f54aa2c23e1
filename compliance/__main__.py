# SPDX-License-Identifier: Apache-2.0
"""Checks and scores benchmark run logs.

    python -m compliance check PATH            findings, and the verdict
    python -m compliance score PATH            time to train, throughput or VFLOPS of every entry
    python -m compliance report PATH --output report.html
    python -m compliance analyze PATH --output DIR   tables and figures of the papers

PATH is a log, a result folder, an organization's submission, or a round of several organizations.
Exit codes: 0 no error, 1 errors found, 2 wrong usage or input that could not be read.
"""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from compliance import command_line

CHECK_FORMATS = ("text", "json", "csv", "markdown", "sarif", "junit")
SCORE_FORMATS = ("text", "json", "csv", "markdown")
SEVERITIES = ("error", "warning", "manual")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but argparse is imported before the command is known."""
    try:
        options = parser()
        command_line.complete(options)
        arguments = options.parse_args(argv)
    except SystemExit as stop:  # argparse has printed its help or an error
        return int(stop.code or 0)
    gc.disable()  # a short process that keeps most of its objects: collecting would cost a tenth of its time
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # file names may hold characters that the terminal cannot encode
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has gone, as after `| head`; without this, the interpreter's own flush would report it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + getattr(signal, "SIGPIPE", 13)
    return code


def _run(arguments: argparse.Namespace) -> int:
    from compliance.files.errors import UserError

    try:
        return import_module(f"compliance.commands.{arguments.verb}").run(arguments)
    except BrokenPipeError:
        raise
    except (UserError, OSError) as error:
        from compliance.reports.tables import printable

        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    options = command_line.command("compliance", __doc__)
    verbs = options.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_review_verbs(verbs)
    _add_analysis_verbs(verbs)
    _add_rule_verbs(verbs)
    _add_submitter_verbs(verbs)
    return options


def _add_review_verbs(verbs) -> None:
    check = _add(verbs, "check", "check PATH against its rules")
    _add_path(check)
    _add_format(check, CHECK_FORMATS)
    _add_finding_options(check)
    score = _add(verbs, "score", "score every entry of PATH")
    _add_path(score)
    _add_format(score, SCORE_FORMATS)
    report = _add(verbs, "report", "write one self-contained page of scores, curves and findings")
    _add_path(report)
    report.add_argument("--output", type=Path, required=True, metavar="report.html", help="page to write")


def _add_analysis_verbs(verbs) -> None:
    analyze = _add(verbs, "analyze", "make the tables and figures of the MLPerf HPC and HPC AI500 papers from logs")
    _add_path(analyze, waivers=False)
    analyze.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for csv, json, pictures, page"
    )
    analyze.add_argument(
        "--peak", type=float, metavar="TFLOPS", help="theoretical peak of one accelerator, for the share of the peak"
    )
    compare = _add(verbs, "compare", "show what became faster between rounds, by hardware, by epochs and by software")
    compare.add_argument("rounds", type=Path, nargs="+", metavar="ROUND", help="two or more rounds, the earliest first")
    compare.add_argument("--rules", metavar="NAME", help="one rule set for all rounds (each round's own)")
    compare.add_argument("--output", type=Path, metavar="DIR", help="folder for csv, json, pictures and page")


def _add_finding_options(check: argparse.ArgumentParser) -> None:
    add = check.add_argument
    add("--severity", choices=SEVERITIES, default="manual", help="least severity to show (%(default)s)")
    add("--quiet", action="store_true", help="text: print the verdict only")
    add("--all", action="store_true", help="text: print every finding, also of a rule that is broken in many places")
    add("--diff", type=Path, metavar="OTHER", help="show hyperparameters next to those of another entry")
    add("--against", type=Path, metavar="ROUND", help="find logs that are also in an earlier round")
    add("--allowed-signers", type=Path, metavar="FILE", help="keys that may sign log_digests.txt, as for ssh-keygen -Y")


def _add_rule_verbs(verbs) -> None:
    explain = _add(verbs, "explain", "explain a rule: what it asks for, why, and how to fix a fault")
    explain.add_argument("rule", nargs="?", metavar="RULE", help="such as T102; without it, all rules are listed")
    explain.add_argument("--all", action="store_true", help="all rules in Markdown, as in rules/README.md")
    explain.add_argument("--output", type=Path, metavar="FILE", help="write to FILE")
    rules = _add(verbs, "rules", "show a rule set; without NAME, list them")
    rules.add_argument("name", nargs="?", metavar="NAME", help="such as mlperf_hpc_3.0")
    rules.add_argument("--resolved", action="store_true", help="show inherited values too, each with its file")


def _add_submitter_verbs(verbs) -> None:
    config = _add(verbs, "config", "check a configuration against its rules, before the job is queued")
    config.add_argument("path", type=Path, metavar="PATH", help="configuration folder, or a hyperparameters.toml alone")
    config.add_argument("--benchmark", metavar="NAME", help="if no folder of PATH names it")
    config.add_argument("--system", type=Path, metavar="FILE", help="system.toml to check (default: the one in PATH)")
    config.add_argument(
        "--ranks", type=command_line.positive, metavar="N", help="check that N ranks can share the global batch"
    )
    config.add_argument("--device", choices=("cpu", "cuda"), help="check the settings for this device of the ranks")
    borrow = _add(verbs, "borrow", "borrow the hyperparameters of another submitter's entry")
    borrow.add_argument("lender", type=Path, metavar="LENDER", help="result folder, log or hyperparameters.toml")
    borrow.add_argument("mine", type=Path, metavar="MINE", help="own hyperparameters.toml; its [batch] is kept")
    borrow.add_argument("--benchmark", metavar="NAME", help="if neither the file nor its folders name it")
    borrow.add_argument("--output", type=Path, metavar="FILE", help="file to write (<MINE>.borrowed.toml)")
    package = _add(verbs, "package", "lay out run logs and the code that ran as a submission")
    package.add_argument("runs", type=Path, nargs="+", metavar="RUNS", help="logs, or folders of logs")
    package.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to create, for DIR/<org>")
    package.add_argument("--rules", metavar="NAME", help="rule set (implied by the logs)")
    package.add_argument("--system", metavar="NAME", help="name of the system (made from the logs' platform)")
    package.add_argument("--description", type=Path, metavar="FILE", help="system description, JSON")
    package.add_argument("--scaling", choices=("strong", "weak"), default="strong", help="(%(default)s)")
    package.add_argument("--implementation", metavar="NAME", default="pytorch", help="folder of code (%(default)s)")
    package.add_argument("--commit", metavar="COMMIT", help="commit that ran (the logs' code_commit, else HEAD)")


def _add(verbs, name: str, help_text: str) -> argparse.ArgumentParser:
    return verbs.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")


def _add_path(verb: argparse.ArgumentParser, *, waivers: bool = True) -> None:
    verb.add_argument("path", type=Path, metavar="PATH", help="log, result folder, organization or round")
    verb.add_argument("--rules", metavar="NAME", help="rule set (named by the logs or submission.toml, else implied)")
    if waivers:
        verb.add_argument("--waivers", type=Path, metavar="FILE", help="the reviewer's accepted findings, TOML")


def _add_format(verb: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    verb.add_argument("--format", choices=formats, default="text", help="(%(default)s)")
    verb.add_argument("--output", type=Path, metavar="FILE", help="write to FILE, whole or not at all")


def console() -> None:
    """Run as a program of its own and end the process, without taking the data that were read apart event by event."""
    code = main()
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    console()
