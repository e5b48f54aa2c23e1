# SPDX-License-Identifier: Apache-2.0
"""Gradient compression over a link of 1 Gb/s between two nodes, for a benchmark bound by the link and one that is not.

python -m perf communication                    needs root and iproute2

Follows Figure 12 of HPC AI500 V2.0: compression helps EWA, which has many gradients for its amount of computation, and
does not help a benchmark whose exchange overlaps with the backward pass. The paper's example of the latter is ImageNet;
here it is CosmoFlow, which is small enough for a laptop.
"""

import json
import sys

from perf.communication_rank import COSMOFLOW_BATCH, COSMOFLOW_VOXELS, EWA_PIXELS, NUM_STEPS
from perf.measurement import Measurement, NotMeasurable, Row
from perf.shaped_link import missing, shaped_link

RATE = "1gbit"
CASES = {
    "ewa_fasterrcnn": f"EWA, one image of {EWA_PIXELS}^2 pixels (bound by the link)",
    "cosmoflow": f"CosmoFlow, {COSMOFLOW_BATCH} volumes of {COSMOFLOW_VOXELS}^3 (bound by computing)",
}


def measure() -> Measurement:
    """Measure all rows; NotMeasurable if network namespaces cannot be made."""
    if reason := missing():
        raise NotMeasurable(f"communication: {reason}")
    return Measurement(
        name="communication",
        title="Gradient compression on a slow network",
        peer="the same step with fp32 gradients",
        method=(
            f"Two ranks of one core each in two network namespaces, joined by a link of {RATE} (tbf). Fastest of "
            f"{NUM_STEPS} forward and backward passes with DistributedDataParallel, the variants in turn in one run."
        ),
        rows=[row for benchmark in CASES for row in _rows(benchmark)],
    )


def _rows(benchmark: str) -> list[Row]:
    with shaped_link(rate=RATE) as link:
        command = [sys.executable, "-m", "perf.communication_rank", benchmark]
        found = json.loads(link.run([command, command])[0])
    seconds = {variant: min(times) for variant, times in found["step_s"].items()}
    megabytes = found["num_parameters"] * 4 / 1e6
    alone = seconds["no exchange"]
    return [
        Row(
            what=f"{CASES[benchmark]}, gradients in {variant}",
            unit="steps/s",
            ours=1 / seconds[variant],
            peer=1 / seconds["none"],
            ratio=seconds["none"] / seconds[variant],
            note=(
                f"s a step: {seconds[variant]:.2f}, fp32 {seconds['none']:.2f}, without exchange {alone:.2f}; "
                f"fp32 gradients {megabytes:.0f} MB"
            ),
        )
        for variant in ("fp16", "bf16")
    ]
