# SPDX-License-Identifier: Apache-2.0
"""Time of a training step: kinds of operators, exposed and hidden communication, data loading, bandwidths, the node.

    python -m characterize breakdown cosmoflow --output output/characterize
    python -m characterize breakdown deepcam --compression bf16 --ranks 4 --full

First one process is profiled by kind of operator (figure 10 of HPC AI500). Then several ranks train together while a
communication hook records the times of every gradient bucket (its table 12). Bandwidths of memory, network and input
are those of tables 7 to 9 of the MLPerf HPC paper, as far as this machine counts them. Node utilization and energy are
sampled meanwhile.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from characterize.measure import benchmarks, darshan_log, sample_formats
from characterize.measure.benchmarks import Benchmark
from characterize.measure.communication_timeline import (
    COMPRESSIONS,
    Bucket,
    StepTimes,
    divide,
    mean_phases,
    phases_of,
)
from characterize.measure.device import find_device
from characterize.measure.memory_counters import MemoryCounter
from characterize.measure.ranks import on_ranks
from characterize.measure.step_costs import count
from characterize.measure.step_profile import profile_steps
from characterize.measure.training_step import TrainingStep
from characterize.pictures.breakdown import draw
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import MISSING, Table, percent, quantity, seconds
from harness.device import synchronize
from harness.monitoring.node_monitor import Monitor

STEPS = {False: 3, True: 10}
PHASES = {
    "forward": "forward",
    "backward": "backward",
    "exposed_communication": "communication, exposed",
    "optimizer": "optimizer",
}
"""Fields of Phases that add up to a step, with their titles."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("benchmark", help="benchmark package, such as cosmoflow")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="device to measure (%(default)s)")
    add("--ranks", type=int, default=2, metavar="N", help="ranks of the communication timeline (%(default)s)")
    add("--compression", default="none", choices=COMPRESSIONS, help="compression of the gradients (%(default)s)")
    add("--watts", type=float, metavar="W", help="power of the node, an estimate that is used if nothing measures it")
    add("--darshan", type=Path, metavar="LOG", help="add the I/O of a job from its Darshan log")


def measure(options: argparse.Namespace) -> Result:
    benchmark = benchmarks.named([options.benchmark])[0]
    if options.ranks < 2:
        raise CharacterizeError(f"--ranks: found {options.ranks}, expected at least 2; one rank sends no gradients")
    darshan = darshan_log.read(options.darshan).as_record() if options.darshan else None
    settings = _settings(options, benchmark)
    with Monitor(interval_s=0.25, declared_watts=options.watts) as monitor:
        data = _one_process(benchmark, settings)
        everybody = on_ranks("characterize.measure.data_parallel:timeline", settings, num_ranks=options.ranks)
    loading = _loading(benchmark, reference_size=options.full)
    data["kinds"] |= {"data loading": loading["seconds"] * settings["num_samples"]}
    data |= _communication(everybody) | {"loading": loading, "darshan": darshan}
    data |= {"samples": [asdict(sample) for sample in monitor.samples], "energy": asdict(monitor.energy)}
    return Result(name=f"breakdown_{benchmark.name}", verb="breakdown", settings=settings, data=data)


def _settings(options: argparse.Namespace, benchmark: Benchmark) -> dict[str, Any]:
    device = find_device(options.device)
    size = benchmark.reference_size if options.full or device.type == "cuda" else benchmark.small_size
    return {
        "benchmark": benchmark.name,
        "size": list(size),
        "num_samples": benchmark.small_samples,
        "num_steps": STEPS[options.full],
        "warm_up": 2,
        "compression": options.compression,
        "ranks": options.ranks,
        "device": device.type,
    }


def _one_process(benchmark: Benchmark, settings: dict[str, Any]) -> dict[str, Any]:
    """Kinds of operators and memory traffic of a step in this process alone."""
    device, size = find_device(settings["device"]), tuple(settings["size"])
    step = TrainingStep.build(benchmark, size=size, num_samples=settings["num_samples"], device=device)
    kinds = profile_steps(step, num_steps=settings["num_steps"], device=device)
    costs = count(benchmark, size, settings["num_samples"])
    memory = _memory(step, settings["num_steps"], lambda: synchronize(device)) | {"counted_bytes": costs.memory_bytes}
    return {"kinds": kinds, "flops": costs.flops, "memory": memory}


def _memory(step: Callable[[], object], num_steps: int, wait: Callable[[], None]) -> dict[str, Any]:
    """Seconds and bytes of a step by the memory controllers; None and the reason if they are not counted."""
    wait()
    start = time.perf_counter()
    with MemoryCounter() as counter:
        for _ in range(num_steps):
            step()
        wait()
    step_s = (time.perf_counter() - start) / num_steps
    measured = counter.num_bytes / num_steps if counter.num_bytes else None
    return {"step_s": step_s, "measured_bytes": measured, "missing": counter.missing}


def _communication(everybody: list[dict[str, list[dict]]]) -> dict[str, Any]:
    """Phases of the step, parts of the buckets, and the bandwidth of an all-reduce."""
    buckets = [[Bucket(**bucket) for bucket in rank["buckets"]] for rank in everybody]
    steps = [[StepTimes(**step) for step in rank["steps"]] for rank in everybody]
    phases = [phase for own, bucket in zip(steps, buckets, strict=True) for phase in phases_of(own, bucket)]
    parts = divide(buckets)
    num_bytes = sum(bucket.num_bytes for bucket in buckets[0]) / len(steps[0])
    network = {
        "bytes": num_bytes,
        "mean_message_bytes": fmean(bucket.num_bytes for bucket in buckets[0]),
        "bytes_per_s": num_bytes / parts["all-reduce"] if parts["all-reduce"] else None,
    }
    return {
        "phases": asdict(mean_phases(phases)),
        "timeline": parts,
        "network": network,
        "buckets": everybody[0]["buckets"],
    }


def _loading(benchmark: Benchmark, *, reference_size: bool) -> dict[str, Any]:
    """Seconds and bytes of one sample through the benchmark's own loader, without workers, from a warm cache."""
    with tempfile.TemporaryDirectory(prefix="characterize_data_") as folder:
        test = sample_formats.prepared(benchmark.name, Path(folder) / "data", reference_size=reference_size)
        num_bytes = test.works["warm"].run().num_bytes
        batches = sample_formats.FORMATS[benchmark.name].batches(Path(folder) / "data")
        start = time.perf_counter()
        num_batches = sum(1 for _ in batches)
        elapsed = time.perf_counter() - start
    return {"seconds": elapsed / num_batches, "bytes": num_bytes / num_batches, "samples": test.name}


def tables(result: Result) -> Iterator[Table]:
    yield _kinds_table(result)
    yield _phases_table(result)
    yield _timeline_table(result)
    yield _bandwidth_table(result)
    yield _node_table(result)


def _kinds_table(result: Result) -> Table:
    settings, kinds = result.settings, result.data["kinds"]
    total = sum(kinds.values())
    ordered = sorted((kind for kind in kinds if kinds[kind]), key=lambda kind: -kinds[kind])
    size = " x ".join(map(str, settings["size"]))
    return Table(
        title=f"{benchmark_title(settings['benchmark'])}: a training step on {settings['num_samples']} x {size}",
        columns=("kind", "time", "share"),
        rows=[
            *([kind, seconds(kinds[kind]), percent(kinds[kind] / total)] for kind in ordered),
            ["sum", seconds(total), percent(1.0)],
        ],
        note=f"{quantity(result.data['flops'], 'FLOP')} per step. Data loading: {result.data['loading']['samples']}, "
        "without workers, which would hide it.",
    )


def _phases_table(result: Result) -> Table:
    phases = result.data["phases"]
    total = sum(phases[name] for name in PHASES)
    hidden = phases["hidden_communication"]
    communication = hidden + phases["exposed_communication"]
    return Table(
        title=f"A step of {result.settings['ranks']} ranks together",
        columns=("phase", "time", "share"),
        rows=[
            *([title, seconds(phases[name]), percent(phases[name] / total)] for name, title in PHASES.items()),
            ["step", seconds(total), percent(1.0)],
            ["communication, hidden in backward", seconds(hidden), percent(hidden / total)],
        ],
        note=f"Mean over steps and ranks. Communication took {percent(communication / total)} of the step, "
        f"{percent(phases['exposed_communication'] / total)} without computing (figure 6 of the MLPerf HPC paper).",
    )


def _timeline_table(result: Result) -> Table:
    buckets, network = result.data["buckets"], result.data["network"]
    per_step = len({bucket["index"] for bucket in buckets})
    return Table(
        title="Gradient buckets of a step",
        columns=("part", "time, summed"),
        rows=[[part, seconds(value)] for part, value in result.data["timeline"].items()],
        note=f"{per_step} buckets, {quantity(network['bytes'], 'B')} per step and rank. Buckets overlap, so the parts "
        "can add up to more than the step (HPC AI500, table 12). DDP fixes its buckets beforehand: no negotiation.",
    )


def _bandwidth_table(result: Result) -> Table:
    memory, network, loading = (result.data[name] for name in ("memory", "network", "loading"))
    measured, message = memory["measured_bytes"], quantity(network["mean_message_bytes"], "B")
    rows = [
        ["memory, computed", _rate(memory["counted_bytes"], memory["step_s"]), "operands of all operators, each once"],
        ["memory, measured", _rate(measured, memory["step_s"]), memory["missing"] or "memory controllers"],
        ["network", quantity(network["bytes_per_s"], "B/s"), f"messages of {message}"],
        ["input", _rate(loading["bytes"], loading["seconds"]), f"{loading['samples']}, one process, warm cache"],
    ]
    if darshan := result.data["darshan"]:
        processes = f"Darshan, {darshan['num_processes']} processes, {quantity(darshan['bytes_read'], 'B')} read"
        rows.append(["input of the job", quantity(darshan["read_bandwidth"], "B/s"), f"{processes}; while reading"])
    return Table(
        title="Bandwidths while training",
        columns=("resource", "rate", "source"),
        rows=rows,
        note="As tables 7 to 9 of the MLPerf HPC paper. Memory traffic of accelerators: use Nsight Compute or rocprof.",
    )


def _rate(num_bytes: float | None, elapsed: float) -> str:
    return MISSING if num_bytes is None else quantity(num_bytes / elapsed, "B/s")


def _node_table(result: Result) -> Table:
    def mean(field: str) -> float | None:
        values = [sample[field] for sample in result.data["samples"] if sample[field] is not None]
        return fmean(values) if values else None

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
    return Table(title="Node utilization, mean", columns=("quantity", "value"), rows=list(map(list, shown.items())))


def figures(result: Result) -> dict[str, Figure]:
    return {result.name: draw(result, PHASES)}
