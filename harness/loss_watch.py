# SPDX-License-Identifier: Apache-2.0
"""LossWatch: ends a run whose loss is NaN or infinite, without a wait for the device in each step.

    watch = LossWatch(world, num_allowed=0)
    watch.begin(epoch)
    watch.add(loss)              # in each step, on all ranks; every STEPS_BETWEEN_CHECKS steps it checks them
    watch.check()                # at the end of an epoch; NonFiniteLossError on all ranks names the first such step

The ranks check together, so that all of them end in the same step with the same error.
"""

from typing import SupportsFloat

import torch
from torch import Tensor

from compliance.files.errors import UserError
from harness.distributed.world import World

STEPS_BETWEEN_CHECKS = 100


class NonFiniteLossError(UserError):
    """The loss of a step is NaN or infinite."""

    same_on_all_ranks = True


class LossWatch:
    """The losses of a run since the last check."""

    def __init__(self, world: World, *, num_allowed: int) -> None:
        """`num_allowed`: steps of the run that may have such a loss, because fp16 skips them."""
        self._world, self._num_allowed = world, num_allowed
        self.num_found = 0
        """Steps so far whose loss was NaN or infinite on any rank."""
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Count steps from 1 again."""
        self._epoch, self._num_checked = epoch, 0
        self._losses: list[Tensor] = []

    def add(self, loss: SupportsFloat | None) -> None:
        """Take the loss of one step. None counts as finite."""
        value = loss.detach() if isinstance(loss, Tensor) else torch.tensor(0.0 if loss is None else float(loss))
        self._losses.append(value.to(self._world.device, torch.float32).reshape(()))
        if len(self._losses) == STEPS_BETWEEN_CHECKS:
            self.check()

    def check(self) -> None:
        """Check the losses since the last call; a collective call of all ranks."""
        losses = torch.zeros(STEPS_BETWEEN_CHECKS, device=self._world.device)
        if self._losses:
            losses[: len(self._losses)] = torch.stack(self._losses)
        num_ranks_by_step = self._world.all_reduce_sum(~losses.isfinite()).tolist()
        for step, num_ranks in enumerate(num_ranks_by_step, start=self._num_checked + 1):
            self.num_found += num_ranks > 0
            if num_ranks and self.num_found > self._num_allowed:
                raise NonFiniteLossError(self._message(step, num_ranks))
        self._num_checked += len(self._losses)
        self._losses = []

    def _message(self, step: int, num_ranks: int) -> str:
        where = f" on {num_ranks} of {self._world.num_ranks} ranks" if self._world.num_ranks > 1 else ""
        number = self._num_allowed
        allowed = f", after {number} such steps that nonfinite_steps_allowed permits" if number else ""
        return (
            f"epoch {self._epoch}, step {step}: the loss is NaN or infinite{where}{allowed}; try a lower learning rate "
            'or a longer warm-up, try precision = "fp32", and verify the data: python -m harness.data.manifest verify'
        )
