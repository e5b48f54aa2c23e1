# SPDX-License-Identifier: Apache-2.0
"""Roofline of this machine or a declared one, with the resource that bounds each benchmark.

    python -m characterize roofline --output output/characterize
    python -m characterize roofline --system characterize/systems/hpc_ai500_16_gpus.toml --output output/case_study

Without --system all ceilings are measured (GEMM, convolution, memory copy, all-reduce over local ranks), and so is a
training step of each benchmark, on a smaller input if the reference input would take too long on this machine.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from characterize.commands import allreduce, kernels
from characterize.measure import benchmarks
from characterize.measure.benchmarks import Benchmark
from characterize.measure.device import choose_precisions, find_device
from characterize.measure.ranks import on_ranks, started_by_torchrun
from characterize.measure.step_costs import count
from characterize.measure.timing import time_repeatedly
from characterize.measure.training_step import TrainingStep
from characterize.models import declared_system
from characterize.models.roofline import Bound, Ceiling, System, Workload, attained_bound
from characterize.pictures.roofline import PlacedWorkload, draw
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import Table, percent, quantity
from harness.progress import tracked

COPY_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}
STEP_PRECISION = "fp32"
"""Precision of the training steps, compared with the ceilings of the same precision."""
STEP_SECONDS = {False: 6.0, True: 60.0}


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--system",
        type=Path,
        metavar="FILE",
        help="a declared system instead of this machine, see characterize/models/declared_system.py",
    )
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="what to measure (%(default)s)")
    add("--ranks", type=int, metavar="N", help="local ranks of the all-reduce (default: 2, or one per accelerator)")
    add("--benchmark", action="append", metavar="NAME", help="place this benchmark only; repeatable")


def measure(options: argparse.Namespace) -> Result:
    chosen = benchmarks.named(options.benchmark)
    if options.system:
        data = _declared_data(declared_system.load(options.system), chosen)
        settings = {"system": str(options.system)}
    else:
        device = find_device(options.device)
        num_ranks = int(os.environ["WORLD_SIZE"]) if started_by_torchrun() else options.ranks or _default_ranks(device)
        if num_ranks < 1:
            raise CharacterizeError(f"--ranks: found {num_ranks}, expected at least 1")
        data = _measured_data(device, num_ranks, chosen, full=options.full)
        settings = {"device": device.type, "ranks": num_ranks, "full": options.full}
    return Result(name="roofline", verb="roofline", settings=settings, data=data)


def _declared_data(system: declared_system.DeclaredSystem, chosen: list[Benchmark]) -> dict[str, Any]:
    """Place the file's workloads, or the counted benchmarks if it has none."""
    placed = [PlacedWorkload(workload=workload, compute=compute) for workload, compute in system.workloads]
    if not placed:
        ranks, nodes = system.system.num_ranks, system.num_nodes
        placed = [PlacedWorkload(workload=counted(entry, num_ranks=ranks, num_nodes=nodes)) for entry in chosen]
    return _as_data(system.system, placed, note=f"Declared system: {system.source}")


def _measured_data(device: torch.device, num_ranks: int, chosen: list[Benchmark], *, full: bool) -> dict[str, Any]:
    # Each rank has its own accelerator; ranks on a CPU share the cores that the ceilings were measured with.
    num_devices = num_ranks if device.type == "cuda" else 1
    compute = compute_ceilings(device, num_devices)
    memory = (Ceiling("Memory copy", num_devices * memory_bandwidth(device), "measured"),)
    system = System(
        name="This machine",
        compute=compute,
        communication=communication_ceilings(num_ranks),
        memory=memory,
        num_ranks=num_ranks,
    )
    roof = max((each for each in compute if each.name.endswith(STEP_PRECISION)), key=lambda each: each.per_s).name
    placed = [_placed(entry, device, num_ranks, roof, full=full) for entry in tracked(chosen, "training steps")]
    return _as_data(
        system,
        placed,
        note="Fastest repeats; attained: a training step in fp32, one process",
    )


def _default_ranks(device: torch.device) -> int:
    """One rank per accelerator; two on a CPU."""
    return torch.cuda.device_count() if device.type == "cuda" else 2


def compute_ceilings(device: torch.device, num_devices: int = 1) -> tuple[Ceiling, ...]:
    """Ceilings of equation 4: forward GEMM and convolution in every precision of the device; fastest repeat."""
    ceilings = []
    for precision in (name for name in choose_precisions(None, device) if name != "int8"):
        for kernel in kernels.peak_kernels(device):
            name = f"{'GEMM' if kernel.family == 'gemm' else 'CONV'}, {precision}"
            row = kernels.time_kernel(kernel, "forward", precision, device=device, full=True)
            if row is not None:
                ceilings.append(Ceiling(name, num_devices * row["flops"] / row["fastest_seconds"], "measured"))
    return tuple(ceilings)


def memory_bandwidth(device: torch.device) -> float:
    """Bytes read and written per second by a copy larger than any cache."""
    source = torch.ones(COPY_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    timing = time_repeatedly(lambda: target.copy_(source), device=device, repeats=7, cold=False)
    return 2 * source.numel() * source.element_size() / timing.fastest_seconds


def communication_ceilings(num_ranks: int) -> tuple[Ceiling, ...]:
    """Bytes per second of all ranks together in a large all-reduce; empty for one rank."""
    if num_ranks == 1:
        return ()
    settings = {"collectives": ["all_reduce"], "data_types": ["fp32"], "sizes": [25 << 20, 64 << 20], "repeats": 7}
    rows = on_ranks("characterize.measure.collectives:sweep", settings, num_ranks=num_ranks)
    fastest = [row | {"seconds": row["fastest_seconds"]} for row in rows]
    rows = [allreduce.with_bandwidth(row, num_ranks=num_ranks) for row in fastest]
    best = max(rows, key=lambda row: row["busbw"])
    return (Ceiling(f"All-reduce, {best['library']}", num_ranks * best["busbw"], "measured"),)


def counted(benchmark: Benchmark, *, num_ranks: int, num_nodes: int = 1, attained: float | None = None) -> Workload:
    """Count a benchmark's reference step on `num_ranks` ranks; FLOPs and bytes of all ranks together."""
    costs = count(benchmark, benchmark.reference_size, 1)
    more = count(benchmark, benchmark.reference_size, 2)
    samples = benchmark.samples_per_rank
    # Traffic grows by the same amount with every sample; the parameters' part is counted once.
    memory_bytes = costs.memory_bytes + (samples - 1) * (more.memory_bytes - costs.memory_bytes)
    return Workload(
        name=benchmark.title,
        flops_per_step=num_ranks * samples * costs.flops,
        communication_bytes_per_step=declared_system.traffic(
            costs.gradient_bytes, num_ranks=num_ranks, num_nodes=num_nodes
        ),
        memory_bytes_per_step=num_ranks * memory_bytes,
        attained_flops_per_s=attained,
    )


def _placed(benchmark: Benchmark, device: torch.device, num_ranks: int, roof: str, *, full: bool) -> PlacedWorkload:
    size = benchmark.reference_size if full or device.type == "cuda" else benchmark.small_size
    samples = benchmark.samples_per_rank if device.type == "cuda" else benchmark.small_samples
    at_reference = (size, samples) == (benchmark.reference_size, benchmark.samples_per_rank)
    step = TrainingStep.build(benchmark, size=size, num_samples=samples, device=device)
    timing = time_repeatedly(step, device=device, repeats=5, max_seconds=STEP_SECONDS[full], cold=False)
    num_devices = num_ranks if device.type == "cuda" else 1  # time lost by communication is not included
    rate = num_devices * samples * count(benchmark, size, 1).flops / timing.fastest_seconds  # as the ceilings
    workload = counted(benchmark, num_ranks=num_ranks, attained=rate)
    return PlacedWorkload(workload=workload, compute=roof, is_measured_at_size=at_reference)


def _as_data(system: System, placed: list[PlacedWorkload], *, note: str) -> dict[str, Any]:
    return {"system": asdict(system), "placed": [asdict(workload) for workload in placed], "note": note}


def read(result: Result) -> tuple[System, list[PlacedWorkload]]:
    """System and placed workloads of a written result."""
    record = dict(result.data["system"])
    for kind in ("compute", "communication", "memory"):
        record[kind] = tuple(Ceiling(**ceiling) for ceiling in record[kind])
    placed = [PlacedWorkload(**(item | {"workload": Workload(**item["workload"])})) for item in result.data["placed"]]
    return System(**record), placed


def tables(result: Result) -> Iterator[Table]:
    system, placed = read(result)
    kinds = (("compute", "FLOP/s"), ("communication", "B/s"), ("memory", "B/s"))
    rows = [
        [kind, ceiling.name, ceiling.origin, quantity(ceiling.per_s, unit)]
        for kind, unit in kinds
        for ceiling in getattr(system, kind)
    ]
    yield Table(
        title=f"Ceilings: {system.name}", columns=("resource", "ceiling", "origin", "rate"), rows=rows, num_left=3
    )
    yield Table(
        title="Benchmarks under the roof",
        columns=("benchmark", "bound by", "bound", "attained", "of bound", "COI FLOP/B", "OI FLOP/B"),
        rows=[_row(item, attained_bound(item.workload, system, compute=item.compute)) for item in placed],
        num_left=2,
        note="COI: operations per byte of communication at the reference's local batch size; OI: per byte of memory. "
        "*: measured on a smaller input or batch.",
    )


def figures(result: Result) -> dict[str, Figure]:
    system, placed = read(result)
    note = f"{result.data['note']}. {result.machine.describe() if 'device' in result.settings else ''}"
    return {"roofline": draw(system, placed, note=f"{note} {result.written_at[:10]}")}


def _row(placed: PlacedWorkload, bound: Bound) -> list[str]:
    workload = placed.workload
    reached = workload.attained_flops_per_s
    return [
        workload.name if placed.is_measured_at_size else f"{workload.name} *",
        f"{bound.limit} ({bound.ceiling})",
        quantity(bound.flops_per_s, "FLOP/s"),
        quantity(reached, "FLOP/s"),
        percent(None if reached is None else bound.share(reached)),
        quantity(workload.communication_intensity),
        quantity(workload.memory_intensity),
    ]
