# SPDX-License-Identifier: Apache-2.0
"""Operations, memory traffic and gradient bytes of one training step, counted on the meta device.

    costs = count(benchmark, benchmark.reference_size, num_samples=4)
    costs.flops, costs.gradient_bytes, costs.memory_bytes

Nothing is computed, so steps that would not fit into this machine can be counted too.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from characterize.measure.benchmarks import Batch, Benchmark, Size
from harness.flops import training_flops

GRADIENT_BYTES = 4
"""Bytes of one parameter's gradient in fp32."""


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """Costs of one rank's training step."""

    num_samples: int
    num_parameters: int
    flops: int
    memory_bytes: int
    """Forward and backward traffic, if every operator reads its inputs and writes its outputs once. An upper limit:
    fused operators and caches move less; repeated reads inside an operator are not counted."""

    @property
    def gradient_bytes(self) -> int:
        """fp32 bytes that the all-reduce sums."""
        return GRADIENT_BYTES * self.num_parameters


class MemoryTraffic(TorchDispatchMode):
    """Counts the bytes that operators read and write; views move nothing."""

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
    """Costs of a step on `num_samples` samples. All but the parameters' part are proportional to the samples."""
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
    """Module whose forward pass has no arguments, as training_flops expects."""

    def __init__(self, benchmark: Benchmark, model: nn.Module, batch: Batch) -> None:
        super().__init__()
        self.benchmark, self.model, self.batch = benchmark, model, batch

    def forward(self) -> Tensor:
        return self.benchmark.forward(self.model, self.batch)


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []
