# SPDX-License-Identifier: Apache-2.0
"""What one training step costs, counted on the meta device: operations, bytes of memory, bytes of gradients.

    costs = count(benchmark, benchmark.reference_size, num_samples=4)
    costs.flops, costs.gradient_bytes, costs.memory_bytes

Nothing is computed, so that a step which would not fit into this machine is counted in a second.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from characterize.measure.benchmarks import Batch, Benchmark, Size
from harness.flops import training_flops

GRADIENT_BYTES = 4
"""Of one parameter's gradient in fp32."""


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """One rank's training step."""

    num_samples: int
    num_parameters: int
    flops: int
    memory_bytes: int
    """Forward and backward: every operator reads its inputs and writes its outputs once. An upper limit: fused
    operators and caches spare some of it; what an operator reads twice is not in it."""

    @property
    def gradient_bytes(self) -> int:
        """Of the all-reduce, in fp32."""
        return GRADIENT_BYTES * self.num_parameters


class MemoryTraffic(TorchDispatchMode):
    """Counts bytes of what operators read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        results = operator(*arguments, **(keywords or {}))
        if not operator.is_view and not operator._schema.name.startswith(("aten::detach", "aten::empty")):
            moved = {id(tensor): tensor for tensor in _tensors((arguments, keywords or {}, results))}
            self.num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in moved.values())
        return results


@cache
def count(benchmark: Benchmark, size: Size, num_samples: int) -> StepCosts:
    """Costs of a step on `num_samples` samples; they are proportional to the samples but for the parameters' part."""
    with torch.device("meta"):
        model, batch = benchmark.make_model(size), benchmark.make_batch(num_samples, size)
        flops = training_flops(_Step(benchmark, model, batch))
        with MemoryTraffic() as traffic:
            benchmark.forward(model, batch).sum().backward()
    return StepCosts(
        num_samples=num_samples,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        flops=flops,
        memory_bytes=traffic.num_bytes,
    )


class _Step(nn.Module):
    """A forward pass without arguments, as training_flops calls it."""

    def __init__(self, benchmark: Benchmark, model: nn.Module, batch: Batch) -> None:
        super().__init__()
        self.benchmark, self.model, self.batch = benchmark, model, batch

    def forward(self) -> Tensor:
        return self.benchmark.forward(self.model, self.batch)


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for one in value.values() for tensor in _tensors(one)]
    if isinstance(value, list | tuple):
        return [tensor for one in value for tensor in _tensors(one)]
    return []
