# SPDX-License-Identifier: Apache-2.0
"""A train command that kills itself after one of its steps, or else writes down the state that it ends in.

python tests/train_to_step.py cosmoflow 7 STATE.pt --config ... --data ... --output ...        0: it is not killed
"""

import os
import signal
import sys
from importlib import import_module
from itertools import count

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness.checkpoint import Checkpoints


def main(package: str, last_step: str, state: str, *arguments: str) -> None:
    parts, steps, build = {}, count(1), Checkpoints.__init__

    def remember(checkpoints, run, *, every_epochs, **named):
        parts.update(named)
        build(checkpoints, run, every_epochs=every_epochs, **named)

    def kill(*_):
        if next(steps) == int(last_step):
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints.__init__ = remember
    register_optimizer_step_post_hook(kill)
    import_module(f"{package}.train").main(list(arguments))
    torch.save({name: part.state_dict() for name, part in parts.items()}, state)


if __name__ == "__main__":
    main(*sys.argv[1:])
