# SPDX-License-Identifier: Apache-2.0
"""CosmoFlow's training rate on this CPU: our order of work against the plain reference's, step by step in turn.

python -m perf cosmoflow
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import torch
from torch.nn.functional import mse_loss

from cosmoflow.model import CosmoFlow, log_counts
from harness.flops import training_flops
from harness.precision import uses_bf16
from perf.measurement import Measurement, Row

NUM_WARM_UP_STEPS = 2
NUM_STEPS = 7
SIZES = {64: 4, 128: 1}
"""Voxels a side, and the samples of a step that then fit into a laptop's memory."""


@dataclass
class Variant:
    """A way to do the same training step, and the times that its steps took."""

    pool_first: bool
    layout: torch.memory_format
    bf16: bool
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


def variants() -> dict[str, Variant]:
    return {
        "plain": Variant(pool_first=False, layout=torch.contiguous_format, bf16=False),
        "fp32": Variant(pool_first=True, layout=torch.channels_last_3d, bf16=False),
        "bf16": Variant(pool_first=True, layout=torch.channels_last_3d, bf16=True),
    }


def measure() -> Measurement:
    return Measurement(
        name="cosmoflow",
        title="CosmoFlow: training on CPU",
        peer="the reference order in the same PyTorch (NCDHW, activation before pooling, fp32)",
        method=f"Median of {NUM_STEPS} whole training steps of each variant, taken in turn in one process.",
        rows=[row for size, batch_size in SIZES.items() for row in _rows(size, batch_size)],
    )


def _rows(size: int, batch_size: int) -> list[Row]:
    timed = variants()
    steps = {name: _step(variant, size, batch_size) for name, variant in timed.items()}
    for number in range(NUM_WARM_UP_STEPS + NUM_STEPS):
        for name, variant in timed.items():
            _time(steps[name], variant if number >= NUM_WARM_UP_STEPS else None)
    flops = _flops_per_sample(size)
    hardware = "" if uses_bf16("auto", "cpu") else "; this CPU has no bf16 matrix unit"
    return [
        _row(f"{size}^3, channels last and pooling first, fp32", timed["fp32"], timed["plain"], batch_size, flops),
        _row(f"{size}^3, the same in bf16{hardware}", timed["bf16"], timed["plain"], batch_size, flops),
    ]


def _row(what: str, ours: Variant, peer: Variant, batch_size: int, flops: int) -> Row:
    rate, peer_rate = batch_size / median(ours.wall_s), batch_size / median(peer.wall_s)
    cpu_s, peer_cpu_s = median(ours.cpu_s) / batch_size, median(peer.cpu_s) / batch_size
    return Row(
        what=f"training, {what}",
        unit="samples/s",
        ours=rate,
        peer=peer_rate,
        ratio=rate / peer_rate,
        note=f"batch {batch_size}; {rate * flops / 1e9:.0f} GFLOP/s; CPU-s a sample {cpu_s:.3g}, peer {peer_cpu_s:.3g}",
    )


def _step(variant: Variant, size: int, batch_size: int) -> Callable[[], None]:
    torch.manual_seed(1)
    model = CosmoFlow(input_size=size, pool_first=variant.pool_first).to(memory_format=variant.layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    counts_NCDHW = torch.poisson(torch.ones(batch_size, 4, size, size, size)).short()
    target_NT = torch.rand(batch_size, 4) * 2 - 1

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.bf16):
            prediction_NT = model(log_counts(counts_NCDHW.contiguous(memory_format=variant.layout)))
        optimizer.zero_grad()
        mse_loss(prediction_NT.float(), target_NT).backward()
        optimizer.step()

    return step


def _time(step: Callable[[], None], variant: Variant | None) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    if variant:
        variant.wall_s.append(time.perf_counter() - wall)
        variant.cpu_s.append(time.process_time() - cpu)


def _flops_per_sample(size: int) -> int:
    with torch.device("meta"):
        return training_flops(CosmoFlow(input_size=size), torch.empty(1, 4, size, size, size))
