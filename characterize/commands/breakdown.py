# SPDX-License-Identifier: Apache-2.0
"""Time of a training step: kinds of operators, gradient communication, data loading, and node utilization.

    python -m characterize breakdown cosmoflow --output output/characterize
    python -m characterize breakdown deepcam --compression bf16 --ranks 4 --full

First one process is profiled by kind of operator (figure 10 of HPC AI500). Then several ranks train together while a
communication hook records the times of every gradient bucket (its table 12). Node utilization and energy are sampled.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from characterize.measure import benchmarks, sample_formats
from characterize.measure.benchmarks import Benchmark
from characterize.measure.communication_timeline import COMPRESSIONS, Bucket, divide
from characterize.measure.device import find_device
from characterize.measure.ranks import on_ranks
from characterize.measure.step_costs import count
from characterize.measure.step_profile import profile_steps
from characterize.measure.training_step import TrainingStep
from characterize.pictures.breakdown import draw
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import Table, percent, quantity, seconds
from harness.monitoring.node_monitor import Monitor

STEPS = {False: 2, True: 10}
MONITORED = ("cpu_percent", "memory_bytes", "read_bytes_per_s", "received_bytes_per_s", "accelerator_percent")


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("benchmark", help="benchmark package, such as cosmoflow")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="what to measure (%(default)s)")
    add("--ranks", type=int, default=2, metavar="N", help="ranks of the communication timeline (%(default)s)")
    add("--compression", default="none", choices=COMPRESSIONS, help="compression of the gradients (%(default)s)")
    add(
        "--watts",
        type=float,
        metavar="W",
        help="declared power of the node, used as an estimate if nothing measures it",
    )


def measure(options: argparse.Namespace) -> Result:
    benchmark = benchmarks.named([options.benchmark])[0]
    if options.ranks < 2:
        raise CharacterizeError(f"--ranks: found {options.ranks}, expected at least 2; one rank sends no gradients")
    device = find_device(options.device)
    size = benchmark.reference_size if options.full or device.type == "cuda" else benchmark.small_size
    num_samples, num_steps = benchmark.small_samples, STEPS[options.full]
    settings = {
        "benchmark": benchmark.name,
        "size": list(size),
        "num_samples": num_samples,
        "num_steps": num_steps,
        "warm_up": 2,
        "compression": options.compression,
        "ranks": options.ranks,
        "device": device.type,
    }
    with Monitor(interval_s=0.25, declared_watts=options.watts) as monitor:
        step = TrainingStep.build(benchmark, size=size, num_samples=num_samples, device=device)
        kinds = profile_steps(step, num_steps=num_steps, device=device)
        del step
        everybody = on_ranks("characterize.measure.data_parallel:timeline", settings, num_ranks=options.ranks)
    ranks = [[Bucket(**bucket) for bucket in rank] for rank in everybody]
    data = {
        "kinds": kinds | {"data loading": _loading_seconds(benchmark) * num_samples},
        "flops": count(benchmark, size, num_samples).flops,
        "timeline": divide(ranks),
        "buckets": everybody[0],
        "samples": [asdict(sample) for sample in monitor.samples],
        "energy": asdict(monitor.energy),
    }
    return Result(name=f"breakdown_{benchmark.name}", verb="breakdown", settings=settings, data=data)


def _loading_seconds(benchmark: Benchmark) -> float:
    """Seconds that the benchmark's own loader needs for one small sample from a warm cache, without workers."""
    with tempfile.TemporaryDirectory(prefix="characterize_data_") as folder:
        read = sample_formats.prepared(benchmark.name, Path(folder) / "data")
        read.read()
        batches = sample_formats.FORMATS[benchmark.name].batches(Path(folder) / "data")
        began, num_batches = time.perf_counter(), 0
        for _ in batches:
            num_batches += 1
        return (time.perf_counter() - began) / num_batches


def tables(result: Result) -> Iterator[Table]:
    title = benchmarks.installed()[result.settings["benchmark"]].title
    size = " x ".join(map(str, result.settings["size"]))
    kinds = result.data["kinds"]
    total = sum(kinds.values())
    ordered = sorted((kind for kind in kinds if kinds[kind]), key=lambda kind: -kinds[kind])
    yield Table(
        title=f"{title}: a training step on {result.settings['num_samples']} x {size}",
        columns=("kind", "time", "share"),
        rows=[
            *([kind, seconds(kinds[kind]), percent(kinds[kind] / total)] for kind in ordered),
            ["all", seconds(total), percent(1.0)],
        ],
        note=f"{quantity(result.data['flops'], 'FLOP')} per step; data loading is measured without workers.",
    )
    yield _timeline_table(result)
    yield _node_table(result)


def _timeline_table(result: Result) -> Table:
    buckets = result.data["buckets"]
    a_step = len({bucket["index"] for bucket in buckets})
    num_bytes = sum(bucket["num_bytes"] for bucket in buckets) / result.settings["num_steps"]
    return Table(
        title=f"Communication of a step over {result.settings['ranks']} ranks",
        columns=("part", "time"),
        rows=[[part, seconds(value)] for part, value in result.data["timeline"].items()],
        note=f"{a_step} buckets, {quantity(num_bytes, 'B')} per step and rank; mean over ranks. "
        "DDP fixes its buckets beforehand, so there is no negotiation.",
    )


def _node_table(result: Result) -> Table:
    def mean(field: str) -> float | None:
        values = [sample[field] for sample in result.data["samples"] if sample[field] is not None]
        return sum(values) / len(values) if values else None

    energy: dict[str, Any] = result.data["energy"]
    mark = ", estimated" if energy["source"] == "declared" else ""
    joules = "not measured" if energy["joules"] is None else f"{quantity(energy['joules'], 'J')}{mark}"
    shown = {
        "processors busy": percent(None if (busy := mean("cpu_percent")) is None else busy / 100),
        "memory in use": quantity(mean("memory_bytes"), "B"),
        "disk reads": quantity(mean("read_bytes_per_s"), "B/s"),
        "network in": quantity(mean("received_bytes_per_s"), "B/s"),
        "accelerators busy": percent(None if (busy := mean("accelerator_percent")) is None else busy / 100),
        "energy": f"{joules} ({energy['source']}: {energy['coverage']})",
    }
    return Table(title="Node utilization, mean", columns=("what", "value"), rows=list(map(list, shown.items())))


def figures(result: Result) -> dict[str, Figure]:
    title = benchmarks.installed()[result.settings["benchmark"]].title
    return {result.name: draw(result, title)}
