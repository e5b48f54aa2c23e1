# SPDX-License-Identifier: Apache-2.0
"""CosmoFlow's training rate on this CPU, compared with the plain order of operations, in turns.

python -m perf cosmoflow
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import mse_loss

from cosmoflow.model import CosmoFlow, log_counts
from harness.flops import training_flops
from perf import peak
from perf.measurement import Measurement, Row
from perf.turns import in_turn, training_row

NUM_WARM_UP_STEPS = 2
NUM_STEPS = 7
SIZES = {64: 4, 128: 1}
"""Voxels per side -> batch size that fits into a laptop's memory."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One variant of the same training step."""

    pool_first: bool
    layout: torch.memory_format
    bf16: bool


def variants() -> dict[str, Variant]:
    return {
        "plain": Variant(pool_first=False, layout=torch.contiguous_format, bf16=False),
        "plain bf16": Variant(pool_first=False, layout=torch.contiguous_format, bf16=True),
        "fp32": Variant(pool_first=True, layout=torch.channels_last_3d, bf16=False),
        "bf16": Variant(pool_first=True, layout=torch.channels_last_3d, bf16=True),
    }


def measure() -> Measurement:
    return Measurement(
        name="cosmoflow",
        title="CosmoFlow: training on CPU",
        peer="the reference order in the same PyTorch (NCDHW, activation before pooling, fp32 or plain bf16)",
        method=f"Median of {NUM_STEPS} whole training steps of each variant, taken in turn in one process.",
        rows=[row for size, batch_size in SIZES.items() for row in _rows(size, batch_size)],
    )


def _rows(size: int, batch_size: int) -> list[Row]:
    steps = {name: _step(variant, size, batch_size) for name, variant in variants().items()}
    times = in_turn(steps, num_warm_ups=NUM_WARM_UP_STEPS, num_turns=NUM_STEPS)
    amounts = {"batch_size": batch_size, "flops": _flops_per_sample(size)}
    order = f"{size}^3, channels last and pooling first"
    return [
        training_row(f"{order}, fp32", times["fp32"], times["plain"], peak=peak.flops_per_s("fp32"), **amounts),
        *(
            training_row(f"{order}, bf16{beside}", times["bf16"], times[peer], peak=peak.flops_per_s("bf16"), **amounts)
            for beside, peer in ((" beside plain bf16", "plain bf16"), ("", "plain"))
        ),
    ]


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


def _flops_per_sample(size: int) -> int:
    with torch.device("meta"):
        return training_flops(CosmoFlow(input_size=size), torch.empty(1, 4, size, size, size))
