# SPDX-License-Identifier: Apache-2.0
"""A configuration, checked against the job that is to run it, before the job is queued.

    job = {"benchmark": "cosmoflow", "num_ranks": 64, "device_type": "cuda"}
    faults = job_check.faults(Path("my/hyperparameters.toml"), Path("my/system.toml"), **job)

`python -m compliance config` calls it.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from compliance import command_line
from compliance.files.errors import UserError
from harness import config


def faults(
    hyperparameters_path: Path, system_path: Path, *, benchmark: str, num_ranks: int | None, device_type: str
) -> list[str]:
    """One line for each fault; the messages are those with which the train command would end.

    Without num_ranks, nothing is checked that depends on the number of ranks. device_type: cpu or cuda.
    Raises UserError for a benchmark that this repository cannot train.
    """
    if find_spec(benchmark) is None:
        raise UserError(f"{system_path}: no train command of {benchmark} here; check {hyperparameters_path} alone")
    command_line.require("train")
    types = import_module(f"{benchmark}.config")
    try:
        settings = config.load(
            hyperparameters_path.parent,
            hyperparameters_path,
            system_path,
            hyperparameters_type=types.Hyperparameters,
            system_type=types.System,
        )
        if num_ranks is None:
            config.check_device(settings, device_type)
        else:
            types.check_job(settings, num_ranks=num_ranks, device_type=device_type)
    except UserError as error:
        return str(error).splitlines()
    return []
