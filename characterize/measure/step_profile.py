# SPDX-License-Identifier: Apache-2.0
"""Time of a training step by kind of operator, from torch's profiler.

profile = profile_steps(step, num_steps=3, device=device)
profile["convolution"]                                # seconds per step

The kinds follow HPC AI500's figure 10. Each operator's time excludes the operators that it calls, so times add up.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch.profiler import ProfilerActivity, profile

from harness.device import synchronize

OPTIMIZER = "Optimizer.step"
"""Start of the name of the annotation that torch.optim puts around an update."""
KINDS = (
    ("communication", re.compile(r"^(gloo:|nccl:|c10d::|ncclDev|.*AllReduce)")),
    ("optimizer", re.compile(r"_foreach_|_fused_(sgd|adam)|Optimizer\.")),
    (
        "convolution",
        re.compile(r"conv(olution|_transpose|1d|2d|3d|_)|cudnn::|implicit_gemm|winograd|fprop|dgrad|wgrad"),
    ),
    (
        "normalization",
        re.compile(r"(batch|group|layer)_?norm|bn_(fw|bw)|BatchNorm|GroupNorm|RowwiseMoments", re.IGNORECASE),
    ),
    ("GEMM", re.compile(r"(^|:|_)(mm|addmm|bmm|baddbmm|linear|matmul)($|_)|gemm|cutlass|ampere_|sm\d0_xmma")),
    ("pooling", re.compile(r"pool", re.IGNORECASE)),
    (
        "copies",
        re.compile(r"copy|clone|contiguous|aten::(_to_copy|to|cat|fill_|zero_|zeros|empty|new_)|memcpy|memset", re.I),
    ),
)
OTHER = "elementwise and other"
NAMES = (*(name for name, _ in KINDS), OTHER)


def kind_of(operator: str) -> str:
    """Kind of an operator or device kernel, from its name."""
    return next((name for name, pattern in KINDS if pattern.search(operator)), OTHER)


def sum_by_kind(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds of each kind; kinds that did not occur are 0."""
    total: dict[str, float] = defaultdict(float)
    for operator, seconds in times:
        total[kind_of(operator)] += seconds
    return {name: total[name] for name in NAMES}


def profile_steps(step: Callable[[], object], *, num_steps: int, device: torch.device) -> dict[str, float]:
    """Seconds per step of each kind: device time on an accelerator, CPU time of the operators otherwise."""
    on_device = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    step()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no start and stop messages on stderr
    with profile(activities=activities) as recorded:
        for _ in range(num_steps):
            step()
        synchronize(device)
    attribute = "self_device_time_total" if on_device else "self_cpu_time_total"
    # Annotations contain operators that are counted themselves.
    operators = [event for event in recorded.events() if not event.name.startswith(("ProfilerStep", OPTIMIZER))]
    return sum_by_kind(
        (OPTIMIZER if _is_of_optimizer(event) else event.name, getattr(event, attribute) / 1e6 / num_steps)
        for event in operators
    )


def _is_of_optimizer(event) -> bool:
    """True if the optimizer's update called the operator; its multiplications and additions have no own name."""
    while event is not None and not event.name.startswith(OPTIMIZER):
        event = event.cpu_parent
    return event is not None
