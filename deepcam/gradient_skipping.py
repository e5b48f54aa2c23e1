# SPDX-License-Identifier: Apache-2.0
"""Gradient skipping, for the open division: leading layers whose updates no longer matter stop being updated.

    skipping = GradientSkipping(network, threshold=0.01)
    for epoch in ...:
        train_epoch(...)
        num_skipped = skipping.update()            # stages, from the input on

The encoder is a chain of twenty stages. After each epoch, a stage's change is |weights - weights an epoch ago| divided
by |weights an epoch ago|, over all of its parameters. Going from the input on, every stage whose change is below the
threshold is no longer updated from then on, until the first whose change is not. Backward passes then end at that
stage: what lies before it needs no gradients, no all-reduce and no optimizer step. Its batch norms go on normalising
each batch.
"""

import math

import torch
from torch import Tensor, nn

from deepcam.model import DeepCAM


class GradientSkipping:
    """Watches the leading stages of a network; the same decisions on every rank, since their weights are the same."""

    def __init__(self, network: DeepCAM, threshold: float | None) -> None:
        """`threshold`: relative change in an epoch; None: nothing is ever skipped, and no weights are remembered."""
        encoder = network.encoder
        self.stages: list[nn.Module] = [encoder.stem, encoder.shallow, *encoder.deep, *encoder.middle]
        self.threshold = threshold
        self.num_skipped = 0
        """Stages, from the input on, that are not updated any more."""
        self._before: list[list[Tensor]] = []
        self._remember()

    def update(self) -> int:
        """After an epoch: compare, stop what has settled, remember the rest; returns num_skipped."""
        num_skipped = self.num_skipped
        while num_skipped < len(self.stages) and self.change(num_skipped) < self.threshold:
            num_skipped += 1
        self._skip(num_skipped)
        return num_skipped

    def state_dict(self) -> dict[str, int]:
        """For a checkpoint between epochs, where what is remembered are the network's weights."""
        return {"num_skipped": self.num_skipped}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """After the network's own state was loaded."""
        self._skip(state["num_skipped"])

    def _skip(self, num_skipped: int) -> None:
        for stage in self.stages[:num_skipped]:
            for parameter in stage.parameters():
                parameter.requires_grad_(False)
                parameter.grad = None
        self.num_skipped = num_skipped
        self._remember()

    def _remember(self) -> None:
        if self.threshold is not None:
            skipped = [[] for _ in range(self.num_skipped)]
            self._before = skipped + [_copied(stage) for stage in self.stages[self.num_skipped :]]

    @torch.no_grad()
    def change(self, number: int) -> float:
        """Relative change of a stage since the last update()."""
        before, now = self._before[number], self.stages[number].parameters()
        moved = sum(float((new - old).square().sum()) for new, old in zip(now, before, strict=True))
        return math.sqrt(moved / sum(float(old.square().sum()) for old in before))


def _copied(stage: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in stage.parameters()]
