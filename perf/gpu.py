# SPDX-License-Identifier: Apache-2.0
"""Training steps on this GPU: plain, in channels last, compiled, and as a CUDA graph, for growing batches.

python -m perf gpu

It has not run on a GPU yet. Data are random and on the device: the rates are those of the step alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.optim import SGD

from characterize.measure import benchmarks, step_costs
from characterize.measure.benchmarks import Batch, Benchmark, Size
from harness.device import seconds_of
from harness.precision import Precision, choose
from harness.step import NUM_STEPS_BEFORE_CAPTURE, Step
from perf.measurement import Measurement, NotMeasurable, Row

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NUM_STEPS = 10
GEMM_SIZE = 8192
ORDERS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The memory order of convolutions, by a tensor's number of dimensions."""
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One form of the training step."""

    precision: str = "fp32"
    channels_last: bool = False
    compiled: bool = False
    graph: bool = False


def variants(fast: str) -> dict[str, Variant]:
    """The forms by name; each adds to the one before. `fast`: the fastest precision of the device."""
    return {
        "plain, fp32": Variant(),
        f"plain, {fast}": Variant(precision=fast),
        "channels last": Variant(precision=fast, channels_last=True),
        "channels last, compiled": Variant(precision=fast, channels_last=True, compiled=True),
        "channels last, CUDA graph": Variant(precision=fast, channels_last=True, graph=True),
    }


def measure() -> Measurement:
    """Measure all benchmarks on the first GPU; NotMeasurable if there is none."""
    if not torch.cuda.is_available():
        raise NotMeasurable("gpu: PyTorch finds no CUDA or ROCm device on this machine")
    device = torch.device("cuda", 0)
    fast = choose("auto", "cuda")
    peaks = {name: gemm_flops_per_s(TYPES[name], device) for name in {"fp32", fast}}
    return Measurement(
        name="gpu",
        title="Training steps on a GPU",
        peer="the plain step (contiguous tensors, fp32, eager) at the same batch",
        method=f"Median of {NUM_STEPS} steps on random data on the device; shares of the rate of a {GEMM_SIZE}^3 GEMM.",
        rows=[row for item in benchmarks.installed().values() for row in benchmark_rows(item, fast, peaks, device)],
        machine=torch.cuda.get_device_name(device),
    )


def benchmark_rows(benchmark: Benchmark, fast: str, peaks: dict[str, float], device: torch.device) -> Iterator[Row]:
    """A row for each batch size and variant, up to the batch that does not fit into memory."""
    for num_samples in BATCH_SIZES:
        plain = None
        for name, variant in variants(fast).items():
            try:
                step = training_step(benchmark, benchmark.reference_size, num_samples, variant, device)
                rate = num_samples / seconds_per_step(step, device)
            except torch.cuda.OutOfMemoryError:
                return
            plain = plain or rate
            costs = step_costs.count(benchmark, benchmark.reference_size, num_samples)
            yield Row(
                what=f"{benchmark.name}, batch {num_samples}, {name}",
                unit="samples/s",
                ours=rate,
                peer=plain,
                ratio=rate / plain,
                peak_share=rate * costs.flops / num_samples / peaks[variant.precision],
            )


def training_step(
    benchmark: Benchmark, size: Size, num_samples: int, variant: Variant, device: torch.device
) -> Callable[[], Tensor]:
    """A step on random data; returns its loss. Weights and data are the same in all variants."""
    torch.manual_seed(0)
    batch = moved(benchmark.make_batch(num_samples, size), device)
    model = benchmark.make_model(size).to(device)
    if variant.channels_last:
        order = ORDERS[batch[0].dim()]
        model = model.to(memory_format=order)
        batch = (batch[0].contiguous(memory_format=order), *batch[1:])
    if variant.compiled:
        model.compile()
    step = Step(_step_of(benchmark, model, batch, Precision.start(variant.precision, device)), model, training=True)
    if variant.graph:
        capture(step)
    return step


def _step_of(benchmark: Benchmark, model: nn.Module, batch: Batch, precision: Precision) -> Callable[[], Tensor]:
    # The rate is tiny so that the network does not diverge on random data, which would change times.
    optimizer = SGD(model.parameters(), lr=1e-6, momentum=0.9, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        with precision.autocast():
            loss = benchmark.loss(model, batch)
        precision.backward(loss)
        precision.step(optimizer)
        return loss.detach()

    return step


def capture(step: Step) -> None:
    """Warm the step up on a stream of its own, as a capture needs it, and capture it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step.repeat((), NUM_STEPS_BEFORE_CAPTURE)
    torch.cuda.current_stream().wait_stream(stream)
    step.capture(())


def seconds_per_step(step: Callable[[], object], device: torch.device) -> float:
    """Median over NUM_STEPS; the first two are left out."""
    times = [seconds_of(step, device) for _ in range(2 + NUM_STEPS)]
    return median(times[2:])


def gemm_flops_per_s(dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of a large square matrix product; a multiply-add is two."""
    one, other = (torch.randn(GEMM_SIZE, GEMM_SIZE, device=device).to(dtype) for _ in range(2))
    return 2 * GEMM_SIZE**3 / seconds_per_step(lambda: one @ other, device)


def moved(value: object, device: torch.device) -> object:
    """Tensors of nested tuples and lists on the device; named tuples keep their type."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device) for item in value))
    return type(value)(moved(item, device) for item in value) if isinstance(value, list | tuple) else value
