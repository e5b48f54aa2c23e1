# SPDX-License-Identifier: Apache-2.0
"""A train command that kills itself after one of its steps, or writes its final state to a file.

python tests/train_to_step.py cosmoflow 7 STATE.pt --config ... --data ... --output ...        0: it trains to its end
"""

import os
import signal
import sys
from importlib import import_module
from itertools import count

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness.run import Run


def main(package: str, last_step: str, state: str, *arguments: str) -> None:
    parts, steps, build = {}, count(1), Run.checkpoints

    def remember(run, *, every_epochs, **named):
        parts.update(named)
        return build(run, every_epochs=every_epochs, **named)

    def kill(*_):
        if next(steps) == int(last_step):
            os.kill(os.getpid(), signal.SIGKILL)

    Run.checkpoints = remember
    register_optimizer_step_post_hook(kill)
    import_module(f"{package}.train").main(list(arguments))
    torch.save({name: part.state_dict() for name, part in parts.items()}, state)


if __name__ == "__main__":
    main(*sys.argv[1:])
