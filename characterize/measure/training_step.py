# SPDX-License-Identifier: Apache-2.0
"""A benchmark's training step on random input: forward, loss, backward and an SGD update, as one callable.

step = TrainingStep.build(benchmark, size=benchmark.small_size, num_samples=1, device=torch.device("cpu"))
step()
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from characterize.measure.benchmarks import Batch, Benchmark, Size

MEMORY_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Fastest memory format of convolutions, by number of tensor axes."""


@dataclass
class TrainingStep:
    """Callable that runs one training step."""

    benchmark: Benchmark
    model: nn.Module
    """The network, possibly wrapped, for example by DDP."""
    optimizer: Optimizer
    batch: Batch
    autocast: bool
    """True if convolutions and dense layers compute in bf16."""

    @classmethod
    def build(
        cls,
        benchmark: Benchmark,
        *,
        size: Size,
        num_samples: int,
        device: torch.device,
        precision: str = "fp32",
        wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    ) -> "TrainingStep":
        """Build a step; weights and input are the same in every process."""
        torch.manual_seed(0)
        batch = _moved(benchmark.make_batch(num_samples, size), device)
        layout = MEMORY_FORMATS[batch[0].dim()]
        model = benchmark.make_model(size).to(device, memory_format=layout)
        batch = (batch[0].contiguous(memory_format=layout), *batch[1:])
        # The learning rate is tiny so that the network does not diverge on random input, which would change times.
        optimizer = SGD(model.parameters(), lr=1e-6, momentum=0.9)
        return cls(benchmark, wrap(model), optimizer, batch, autocast=precision == "bf16")

    def __call__(self) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.forward()
        loss.backward()
        self.optimizer.step()
        return loss

    def forward(self) -> Tensor:
        with torch.autocast(self.batch[0].device.type, torch.bfloat16, enabled=self.autocast):
            return self.benchmark.loss(self.model, self.batch)


def _moved(value: object, device: torch.device) -> object:
    """Move the tensors of nested tuples and lists to the device; named tuples keep their type."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(item, device) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value
