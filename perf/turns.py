# SPDX-License-Identifier: Apache-2.0
"""Run several functions in turns in one process, so that other load on the machine affects all of them equally.

times = in_turn({"ours": step, "peer": plain_step}, num_warm_ups=2, num_turns=7)
training_row("at 224", times["ours"], times["peer"], batch_size=8, flops=flops_of_a_sample, peak=1e11)
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from perf.measurement import Row


@dataclass
class Times:
    """Wall and CPU seconds of one function's turns, without warm-ups."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


def in_turn(works: Mapping[str, Callable[[], object]], *, num_warm_ups: int, num_turns: int) -> dict[str, Times]:
    """Call each function once, then each again, and so on; return their times by name."""
    times = {name: Times() for name in works}
    for number in range(num_warm_ups + num_turns):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if number >= num_warm_ups:
                times[name].wall_s.append(time.perf_counter() - wall)
                times[name].cpu_s.append(time.process_time() - cpu)
    return times


def training_row(
    what: str, ours: Times, peer: Times, *, batch_size: int, flops: int, peak: float, unit: str = "samples"
) -> Row:
    """Row that compares the median rates of two training steps.

    `flops` is the cost of training on one sample, `peak` the machine's operations per second in our precision.
    """
    rate, peer_rate = batch_size / median(ours.wall_s), batch_size / median(peer.wall_s)
    cpu_s, peer_cpu_s = median(ours.cpu_s) / batch_size, median(peer.cpu_s) / batch_size
    per_sample = f"CPU-s per sample {cpu_s:.3g}, peer {peer_cpu_s:.3g}"
    return Row(
        what=f"training, {what}",
        unit=f"{unit}/s",
        ours=rate,
        peer=peer_rate,
        ratio=rate / peer_rate,
        peak_share=rate * flops / peak,
        note=f"batch {batch_size}; {rate * flops / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s; {per_sample}",
    )
