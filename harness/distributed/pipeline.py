# SPDX-License-Identifier: Apache-2.0
"""Pipeline partitioning: each rank holds some consecutive layers, and microbatches pass through the ranks.

    layers = [network.stem, *network.stages, head]
    microbatch = torch.empty(2, 3, 224, 224)
    pipeline = Pipeline(
        layers, world, first_layers=(0, 3), microbatch=microbatch, num_microbatches=4, loss=cross_entropy
    )
    optimizer = SGD(pipeline.layers.parameters(), lr=0.1)          # of this rank's layers
    loss = pipeline.step(image_NCHW, label_N)                      # gradients of the mean over all microbatches

A rank works on one microbatch while its neighbours work on others, forward and backward in turn (1F1B): it keeps
no more than a few microbatches' activations. Batch norm sees a microbatch at a time: the result is that of one process
which accumulates the gradients of the same microbatches, as HyPar-Flow's (Awan et al., ISC 2020).
"""

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from compliance.files.errors import UserError
from harness.distributed.world import World


class PipelineError(UserError):
    """Layers or a batch that the ranks cannot share in this way."""


class Pipeline:
    """A network over all ranks of the world, and the training steps through it."""

    def __init__(
        self,
        layers: Sequence[nn.Module],
        world: World,
        *,
        first_layers: Sequence[int],
        microbatch: Tensor,
        num_microbatches: int,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """`layers`: the whole network's, each taking what the one before gives.  `first_layers`: of each rank, from 0.

        `microbatch`: inputs of the shape and type of every microbatch, with any content.

        `loss`: of a microbatch's outputs and targets, the mean over its samples.
        """
        self.layers = _own_layers(layers, world, first_layers)
        """Of this rank."""
        self.num_microbatches = num_microbatches
        self._is_first, self._is_last = world.rank == 0, world.rank == world.num_ranks - 1
        # Left to find the shapes out by itself, a stage runs its layers once more: batch norm would count that.
        between = _between(layers, microbatch)
        first, last = ([*first_layers, len(layers)][world.rank + end] for end in (0, 1))
        shapes = {"input_args": between[first], "output_args": between[last]}
        stage = PipelineStage(self.layers, world.rank, world.num_ranks, world.device, **shapes)
        self._schedule = Schedule1F1B(stage, num_microbatches, loss_fn=loss)

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor | None:
        """Gradients of one batch, which all ranks are given; its mean loss on the last rank, None on the others."""
        if len(inputs) % self.num_microbatches:
            raise PipelineError(
                f"a batch of {len(inputs)} samples cannot be cut into {self.num_microbatches} equal microbatches"
            )
        losses: list[Tensor] = []
        last = {"target": targets, "losses": losses} if self._is_last else {}
        self._schedule.step(*([inputs] if self._is_first else []), **last)
        return torch.stack(losses).detach().mean() if self._is_last else None


def _own_layers(layers: Sequence[nn.Module], world: World, first_layers: Sequence[int]) -> nn.Sequential:
    bounds = [*first_layers, len(layers)]
    rising = all(low < high for low, high in pairwise(bounds))
    if len(first_layers) != world.num_ranks or first_layers[0] != 0 or not rising:
        raise PipelineError(
            f"first_layers: found {list(first_layers)}, expected {world.num_ranks} rising numbers, one for each rank, "
            f"from 0 to below {len(layers)}"
        )
    return nn.Sequential(*layers[bounds[world.rank] : bounds[world.rank + 1]])


def _between(layers: Sequence[nn.Module], microbatch: Tensor) -> list[Tensor]:
    """What goes into each layer and out of the last one, without content."""
    tensors = [microbatch.to("meta")]
    for layer in layers:
        tensors.append(copy.deepcopy(layer).to("meta")(tensors[-1]).detach().requires_grad_())
    return tensors
