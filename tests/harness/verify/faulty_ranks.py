# SPDX-License-Identifier: Apache-2.0
"""The verify command with one faulty rank: `torchrun ... faulty_ranks.py FAULT RANK OPTIONS`.

FAULT: "bit" flips the lowest bit of a weight, "operator" doubles the weight gradients of the checked operators, "slow"
sleeps in each step, "raises" ends with a runtime error as a broken device does.
"""

import os
import sys
import time

import torch
from torch import Tensor

from harness.operator_check import Operator
from harness.verify import __main__, trial

true_step, true_backward = trial._step, Operator.backward


def with_flipped_bit(network, *arguments) -> None:
    true_step(network, *arguments)
    weight: Tensor = next(network.parameters()).data
    weight.view(torch.int32).view(-1)[0] ^= 1


def slow_step(*arguments) -> None:
    time.sleep(2)
    true_step(*arguments)


def raising_step(*arguments) -> None:
    raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nmore lines")


def doubled(*arguments) -> tuple[Tensor, Tensor]:
    dx, dw = true_backward(*arguments)
    return dx, 2 * dw


fault, faulty_rank, *options = sys.argv[1:]
if os.environ["RANK"] == faulty_rank:
    if fault == "operator":
        Operator.backward = doubled
    else:
        trial._step = {"bit": with_flipped_bit, "slow": slow_step, "raises": raising_step}[fault]
sys.exit(__main__.main(options))
