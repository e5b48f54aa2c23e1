# SPDX-License-Identifier: Apache-2.0
"""A step of training or evaluation: run as it is, or captured once as a CUDA graph and replayed.

    step = Step(partial(training_step, replica, optimizer, precision), replica, training=True)
    warm_up([(step, (counts_NCDHW, target_NT))], run, model=model, optimizer=optimizer, precision=precision)
    run.start()
    loss = step(counts_NCDHW, target_NT)

The warm-up runs each step on synthetic tensors before the clock starts: kernels are chosen, loaded and compiled then.
Weights, buffers, optimizer, loss scale and random state are afterwards what they were before. With `cuda_graph`, the
step is captured next: forward and backward pass, all-reduces and optimizer. The learning rate is a tensor, so that the
schedule stays outside. A capture has not been run on an accelerator yet; the rest is the same code on a CPU.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.precision import Precision
from harness.run import Run

NUM_STEPS_BEFORE_CAPTURE = 3
"""Steps before a capture; PyTorch's notes on CUDA graphs ask for them."""
NUM_STEPS_OF_REPLICAS = 11
"""The same for DistributedDataParallel, which builds its buckets in the first steps."""

Inputs = tuple[Tensor, ...]


class Step:
    """A function of tensors of constant shapes, which returns a tensor or a tuple of tensors."""

    def __init__(self, function: Callable[..., Any], model: nn.Module, *, training: bool) -> None:
        """`model`: the module that the function calls, which is in training mode or not before it does."""
        self._function, self.model, self._training = function, model, training
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Inputs = ()
        self._outputs: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        """The function's outputs; after a capture they are valid until the next call."""
        if self._graph is None or not self._fits(inputs):
            return self._function(*inputs)
        for static, given in zip(self._inputs, inputs, strict=True):
            static.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._outputs

    def repeat(self, inputs: Inputs, num_steps: int) -> None:
        """Run the function so many times."""
        self.model.train(self._training)
        for _ in range(num_steps):
            self._function(*inputs)

    def capture(self, inputs: Inputs) -> None:
        """Capture the function on these inputs as a CUDA graph."""
        self.model.train(self._training)
        self._inputs, graph = inputs, torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs = self._function(*inputs)
        self._graph = graph

    def _fits(self, inputs: Inputs) -> bool:
        """True for the shapes of the capture; the last batch of an evaluation may be smaller."""
        return all(given.shape == static.shape for given, static in zip(inputs, self._inputs, strict=True))


def warm_up(
    steps: Sequence[tuple[Step, Inputs]], run: Run, *, model: nn.Module, optimizer: Optimizer, precision: Precision
) -> None:
    """Run each step on its synthetic inputs, and capture it if the system asks for that. Call it before run.start()."""
    system, device = run.config.system, run.world.device
    num_steps = system.warm_up_steps
    if system.cuda_graph:
        num_steps = max(num_steps, NUM_STEPS_BEFORE_CAPTURE if run.world.num_ranks == 1 else NUM_STEPS_OF_REPLICAS)
    if num_steps == 0:
        return
    with untouched(model, optimizer, precision, device), _side_stream(device):
        for step, inputs in steps:
            step.repeat(inputs, num_steps)
    if system.cuda_graph:
        for step, inputs in steps:
            step.capture(inputs)


@contextmanager
def untouched(model: nn.Module, optimizer: Optimizer, precision: Precision, device: torch.device) -> Iterator[None]:
    """A block after which weights, buffers, optimizer, loss scale and random state are what they were before it.

    Their tensors keep their places in memory, which a CUDA graph refers to. What the optimizer creates in the block is
    set to zero, with which it would begin.
    """
    tensors = [*model.parameters(), *model.buffers(), *_tensors_of(optimizer)]
    copies, known = [tensor.detach().clone() for tensor in tensors], {id(tensor) for tensor in tensors}
    loss_scale = precision.state_dict()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    with torch.no_grad():
        for tensor, copy in zip(tensors, copies, strict=True):
            tensor.copy_(copy)
        for tensor in _tensors_of(optimizer):
            if id(tensor) not in known:
                tensor.zero_()
    optimizer.zero_grad()
    precision.load_state_dict(loss_scale)


def _tensors_of(optimizer: Optimizer) -> list[Tensor]:
    """The tensors of an optimizer's state and of its settings."""
    of_state = [value for state in optimizer.state.values() for value in state.values()]
    of_settings = [value for group in optimizer.param_groups for value in group.values()]
    return [value for value in (*of_state, *of_settings) if isinstance(value, Tensor)]


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """A stream on which a step may run before its capture, on an accelerator."""
    if device.type == "cpu":
        yield
        return
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)
