# SPDX-License-Identifier: Apache-2.0
"""`config PATH`: check a configuration against its rules, and the job that is to run it. The exit code is 0 or 1."""

import argparse
from importlib import import_module
from pathlib import Path

from compliance.reports.tables import printable
from compliance.rulesets import hyperparameters_file
from compliance.rulesets.hyperparameters_file import HyperparametersFile


def run(arguments: argparse.Namespace) -> int:
    path = arguments.path
    file = hyperparameters_file.read(path / "hyperparameters.toml" if path.is_dir() else path, arguments.benchmark)
    system = _system_path(arguments, file)
    faults = _job_faults(file, system, arguments) if system else _faults(file)
    for fault in faults:
        print(printable(fault))
    counted = f"{len(faults)} fault{'s' * (len(faults) != 1)}"
    checked = f"{file.benchmark.name} {file.division}, {file.rules.name}"
    ranks = f", {arguments.ranks} ranks" if arguments.ranks else ""
    print(f"{'FAILED' if faults else 'passed'}: {counted}; {checked}{ranks}{f'; with {system.name}' if system else ''}")
    return 1 if faults else 0


def _system_path(arguments: argparse.Namespace, file: HyperparametersFile) -> Path | None:
    """The system.toml to check: the given one, or the one beside the hyperparameters if the job is described."""
    described = arguments.path.is_dir() or arguments.ranks or arguments.device
    return arguments.system or (file.path.with_name("system.toml") if described else None)


def _faults(file: HyperparametersFile) -> list[str]:
    return [f"{file.path}: {fault}" for fault in sorted(hyperparameters_file.faults(file))]


def _job_faults(file: HyperparametersFile, system: Path, arguments: argparse.Namespace) -> list[str]:
    # By its name, because nothing else of the checker needs the code that trains.
    job_check = import_module("harness.job_check")
    job = {"benchmark": file.benchmark.name, "num_ranks": arguments.ranks, "device_type": arguments.device or "cuda"}
    return job_check.faults(file.path, system, **job)
