# SPDX-License-Identifier: Apache-2.0
"""The plan of a campaign: its runs and their folders, from the command line, checked before anything runs.

campaign = plan(parser(__doc__).parse_args())
"""

import argparse
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from compliance import command_line
from compliance.files.errors import UserError
from compliance.submissions.layout import EntryTree, folder_name
from harness import cli, config
from harness.config import Config

MAX_SEED_BASE = 2**30


class CampaignError(UserError):
    """A campaign that cannot run as requested."""


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """The runs of a campaign and their folders."""

    package: str
    """Package of the benchmark; `<package>.train` runs."""
    config: Config
    tree: EntryTree
    arguments: tuple[str, ...]
    """Arguments of the train command without seed and output."""
    num_runs: int
    seed_base: int
    """Seed of the first run; the next seeds count up and skip those of kept runs."""
    keep_going: bool
    launcher: tuple[str, ...] = ()
    """Command that starts the processes of a run."""
    concurrent: bool = False
    """True to run all at the same time, as instances of the throughput metric."""

    @property
    def work(self) -> Path:
        """Folder beside the submission for logs of incomplete runs and for the printed output of all runs."""
        root = self.tree.root.absolute()
        return root.with_name(f"{root.name}.runs")


def parser(description: str | None) -> command_line.Parser:
    """Options of the command."""
    options = command_line.command("harness.campaign", description)
    add = options.add_argument
    add("config", type=Path, metavar="CONFIG", help="configuration folder, such as cosmoflow/configs/demo")
    add("--output", type=Path, required=True, metavar="DIR", help="root of the submission")
    add("--runs", type=cli.positive, metavar="N", help="number of runs (default: the number that the rules ask for)")
    add("--instances", type=cli.positive, metavar="M", help="train M instances at the same time instead")
    add("--launcher", type=shlex.split, default=(), metavar="COMMAND", help="such as 'srun --mpi=none' (default: none)")
    add("--seed-base", type=cli.positive, metavar="N", help="seed of the first run, above 0 (default: random)")
    add("--data", type=Path, metavar="FOLDER", help="prepared data set, passed on to each run")
    add("--hyperparameters", type=Path, metavar="FILE", help="use this file instead of hyperparameters.toml in CONFIG")
    add("--system", type=Path, metavar="FILE", help="use this file instead of system.toml in CONFIG")
    add("--benchmark", metavar="PACKAGE", help="package of the benchmark (default: the one that holds CONFIG)")
    add("--system-name", metavar="NAME", help="folder of the system (default: from the platform in system.toml)")
    add("--implementation", default="pytorch", metavar="NAME", help="folder of the source (%(default)s)")
    add("--keep-going", action="store_true", help="continue with the next run after a failed one")
    return options


def plan(arguments: argparse.Namespace) -> Campaign:
    """The campaign that the command line asks for; raises CampaignError or ConfigError before anything runs."""
    package = arguments.benchmark or _package_of(arguments.config)
    if not _is_benchmark(package):
        raise CampaignError(f"{package}: found no {package}.train; run from the checkout, or name another --benchmark")
    types = import_module(f"{package}.config")
    settings = config.load(
        arguments.config,
        arguments.hyperparameters,
        arguments.system,
        hyperparameters_type=types.Hyperparameters,
        system_type=types.System,
    )
    return Campaign(
        package=package,
        config=settings,
        tree=_tree(arguments, settings),
        arguments=tuple(_passed_on(arguments)),
        num_runs=arguments.instances or arguments.runs or settings.benchmark.num_runs,
        seed_base=arguments.seed_base or 1 + secrets.randbelow(MAX_SEED_BASE),
        keep_going=arguments.keep_going,
        launcher=tuple(arguments.launcher),
        concurrent=arguments.instances is not None,
    )


def _is_benchmark(package: str) -> bool:
    try:
        return find_spec(f"{package}.train") is not None
    except ModuleNotFoundError:
        return False


def _package_of(folder: Path) -> str:
    parts = folder.resolve().parts
    if len(parts) < 3 or parts[-2] != "configs":
        raise CampaignError(f"{folder}: not a benchmark's configs/ folder; name the benchmark with --benchmark")
    return parts[-3]


def _tree(arguments: argparse.Namespace, settings: Config) -> EntryTree:
    return EntryTree(
        root=arguments.output,
        org=folder_name(settings.submission.org),
        system=folder_name(arguments.system_name or settings.submission.platform),
        benchmark=settings.benchmark.name,
        implementation=folder_name(arguments.implementation),
        scaling="weak" if arguments.instances else "strong",
    )


def _passed_on(arguments: argparse.Namespace) -> Iterator[str]:
    for option in ("config", "hyperparameters", "system", "data"):
        value = getattr(arguments, option)
        if value is not None:
            yield from (f"--{option}", str(value))
