# SPDX-License-Identifier: Apache-2.0
"""Pipeline parallelism: each rank holds some consecutive layers, and microbatches pass through the ranks.

    layers = [network.stem, *network.stages, head]
    microbatch = torch.empty(2, 3, 224, 224)
    pipeline = Pipeline(
        layers, world, first_layers=(0, 3), microbatch=microbatch, num_microbatches=4, loss=cross_entropy
    )
    optimizer = SGD(pipeline.layers.parameters(), lr=0.1)          # for this rank's layers
    loss = pipeline.step(image_NCHW, label_N)                      # gradients of the mean loss over all microbatches

A rank works on one microbatch while its neighbors work on others, with forward and backward passes in turn (1F1B), so
that it holds the activations of a few microbatches only. Batch norm sees one microbatch at a time. The result is that
of one process that accumulates the gradients of the same microbatches, as in HyPar-Flow (Awan et al., ISC 2020).
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
    """Layers or a batch that cannot be shared by the ranks."""


class Pipeline:
    """A network over all ranks of the world, and its training steps."""

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
        """`layers`: those of the whole network, in order.  `first_layers`: index of the first layer of each rank.

        `microbatch`: inputs with the shape and type of every microbatch; the content does not matter.

        `loss`: maps outputs and targets of a microbatch to the mean loss over its samples.
        """
        self.layers = _own_layers(layers, world, first_layers)
        """The layers of this rank."""
        self.num_microbatches = num_microbatches
        self._is_first, self._is_last = world.rank == 0, world.rank == world.num_ranks - 1
        # Without given shapes, a stage runs its layers once more to infer them, and batch norm would count that run.
        between = _between(layers, microbatch)
        first, last = ([*first_layers, len(layers)][world.rank + end] for end in (0, 1))
        stage = PipelineStage(
            self.layers,
            world.rank,
            world.num_ranks,
            world.device,
            input_args=between[first],
            output_args=between[last],
        )
        self._schedule = Schedule1F1B(stage, num_microbatches, loss_fn=loss)

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor | None:
        """Compute the gradients of a batch that all ranks pass; returns its mean loss on the last rank, else None."""
        if len(inputs) % self.num_microbatches:
            raise PipelineError(
                f"a batch of {len(inputs)} samples cannot be cut into {self.num_microbatches} equal microbatches"
            )
        losses: list[Tensor] = []
        stage_inputs = [inputs] if self._is_first else []
        if self._is_last:
            self._schedule.step(*stage_inputs, target=targets, losses=losses)
        else:
            self._schedule.step(*stage_inputs)
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
    """The inputs of each layer and the outputs of the last one, on the meta device."""
    tensors = [microbatch.to("meta")]
    for layer in layers:
        tensors.append(copy.deepcopy(layer).to("meta")(tensors[-1]).detach().requires_grad_())
    return tensors
