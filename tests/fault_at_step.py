# SPDX-License-Identifier: Apache-2.0
"""A train command to which a fault happens after one of its steps.

python tests/fault_at_step.py cosmoflow 3 "two signals" FOLDER --config ... --data ... --output ...

FOLDER is the data set that vanishes or is cut, or the place for the file `waiting` of a run that waits.
"""

import os
import signal
import sys
import time
from importlib import import_module
from itertools import count
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness import cli


def main(package: str, step: str, fault: str, folder: str, *arguments: str) -> int:
    steps, happen = count(1), FAULTS[fault]

    def after_step(optimizer, *_):
        if next(steps) == int(step):
            happen(Path(folder), optimizer)

    register_optimizer_step_post_hook(after_step)
    return cli.exit_code(lambda: import_module(f"{package}.train").main(list(arguments)))


def two_signals(folder, optimizer) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)


def die(folder, optimizer) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def second_rank_dies(folder, optimizer) -> None:
    if os.environ["RANK"] == "1":
        die(folder, optimizer)


def vanish(folder: Path, optimizer) -> None:
    for path in samples(folder):
        path.unlink()


def cut(folder: Path, optimizer) -> None:
    for path in samples(folder):
        os.truncate(path, path.stat().st_size // 2)


def samples(folder: Path) -> list[Path]:
    return [path for split in ("train", "validation") for path in (folder / split).rglob("*") if path.is_file()]


def weights_overflow(folder, optimizer: torch.optim.Optimizer) -> None:
    with torch.no_grad():
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.fill_(float("nan"))


def wait(folder: Path, optimizer) -> None:
    (folder / "waiting").touch()
    time.sleep(600)


FAULTS = {
    "two signals": two_signals,
    "kill": die,
    "second rank dies": second_rank_dies,
    "data vanish": vanish,
    "data are cut": cut,
    "weights overflow": weights_overflow,
    "wait": wait,
}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
