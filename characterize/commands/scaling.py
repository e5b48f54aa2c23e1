# SPDX-License-Identifier: Apache-2.0
"""Throughput and parallel efficiency over ranks, for weak and strong scaling.

    python -m characterize scaling cosmoflow --output output/characterize
    torchrun --nnodes 4 --nproc-per-node 8 ... -m characterize scaling cosmoflow --output output/nodes_4

Without a launcher it starts 1, 2, ... ranks on this machine. Under torchrun it measures the ranks of that job; on Slurm
submit one job per number of nodes, each with its own --output, and combine the results with `--join FOLDER`.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from characterize.measure import benchmarks
from characterize.measure.ranks import on_ranks, oversubscription, started_by_torchrun
from characterize.models.scaling import Point, efficiencies
from characterize.pictures.scaling import draw
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import CharacterizeError, Result, load
from characterize.results.tables import Table, percent, three_digits
from harness.progress import tracked

KINDS = ("weak", "strong")
STEPS = {False: 4, True: 20}


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("benchmark", nargs="?", default="cosmoflow", help="benchmark package (%(default)s)")
    add(
        "--ranks",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of ranks on this machine (default: 1 and powers of 2)",
    )
    add("--kind", action="append", choices=KINDS, help="measure this kind only; repeatable")
    add(
        "--join",
        type=Path,
        action="append",
        metavar="DIR",
        help="combine the results in this folder with others; repeatable",
    )


def measure(options: argparse.Namespace) -> Result:
    benchmark = benchmarks.named([options.benchmark])[0]
    if options.join:
        return _joined(benchmark.name, options.join)
    num_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    ranks = _numbers_of_ranks(options.ranks, num_devices or len(os.sched_getaffinity(0)))
    size = benchmark.reference_size if options.full or num_devices else benchmark.small_size
    kinds = options.kind or list(KINDS)
    # Each rank gets the same cores at every number of ranks; otherwise one rank would use the whole machine.
    threads = max(1, len(os.sched_getaffinity(0)) // max(ranks))
    if len(ranks) == 1 and not started_by_torchrun():
        raise CharacterizeError(
            f"--ranks: found only {ranks[0]}, expected at least two numbers; one number of ranks shows no scaling"
        )
    seconds: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds}
    samples: dict[str, dict[str, int]] = {kind: {} for kind in kinds}
    for kind, num_ranks in tracked([(kind, number) for kind in kinds for number in ranks], "scaling"):
        local = benchmark.small_samples if kind == "weak" else max(ranks) * benchmark.small_samples // num_ranks
        settings = {"benchmark": benchmark.name, "size": list(size), "num_samples": local, "warm_up": 2}
        settings["num_steps"] = STEPS[options.full]
        measured = on_ranks(
            "characterize.measure.data_parallel:throughput", settings, num_ranks=num_ranks, num_threads=threads
        )
        seconds[kind][str(measured["num_ranks"])] = measured["seconds"]
        samples[kind][str(measured["num_ranks"])] = local * measured["num_ranks"]
    settings = {"benchmark": benchmark.name, "size": list(size), "kinds": kinds, "full": options.full}
    settings["is_reference_size"] = size == benchmark.reference_size
    settings["threads_per_rank"] = threads
    data = {"seconds": seconds, "global_batch_size": samples, "warning": oversubscription(max(ranks))}
    return Result(name=f"scaling_{benchmark.name}", verb="scaling", settings=settings, data=data)


def points(result: Result, kind: str) -> list[Point]:
    """Rates and efficiencies of one kind of scaling."""
    seconds, samples = result.data["seconds"][kind], result.data["global_batch_size"][kind]
    return efficiencies({int(ranks): [samples[ranks] / wall for wall in walls] for ranks, walls in seconds.items()})


def _numbers_of_ranks(wanted: list[int] | None, available: int) -> list[int]:
    if started_by_torchrun():
        return [int(os.environ["WORLD_SIZE"])]
    if wanted:
        if min(wanted) < 1:
            raise CharacterizeError(f"--ranks: found {min(wanted)}, expected at least 1")
        return sorted(set(wanted))
    return [2**power for power in range(available.bit_length()) if 2**power <= max(2, available)]


def _joined(name: str, folders: list[Path]) -> Result:
    """Combine several results of one benchmark, each with other numbers of ranks."""
    results = [load(folder / f"scaling_{name}.json", "scaling") for folder in folders]
    warnings = [warning for result in results if (warning := result.data.get("warning"))]
    data: dict[str, Any] = {"seconds": {}, "global_batch_size": {}, "warning": " ".join(dict.fromkeys(warnings))}
    for result in results:
        for part in ("seconds", "global_batch_size"):
            for kind, values in result.data[part].items():
                data[part].setdefault(kind, {}).update(values)
    settings = results[0].settings | {"joined": [str(folder) for folder in folders]}
    return Result(name=f"scaling_{name}", verb="scaling", settings=settings, data=data)


def tables(result: Result) -> Iterator[Table]:
    for kind in result.settings["kinds"]:
        batch = result.data["global_batch_size"][kind]
        yield Table(
            title=f"{kind.capitalize()} scaling of {benchmark_title(result.settings['benchmark'])}",
            columns=("ranks", "global batch", "samples/s", "quartiles", "efficiency"),
            rows=[_row(asdict(point), batch) for point in points(result, kind)],
            num_left=0,
            note=f"Input {' x '.join(map(str, result.settings['size']))}; step times are those of the slowest rank. "
            f"{result.data.get('warning', '')}".rstrip(),
        )


def figures(result: Result) -> dict[str, Figure]:
    curves = {kind: points(result, kind) for kind in result.settings["kinds"]}
    return {result.name: draw(result, curves, benchmark_title(result.settings["benchmark"]))}


def _row(point: dict, batch: dict[str, int]) -> list[str]:
    quartiles = f"{three_digits(point['low'])} to {three_digits(point['high'])}"
    ranks = str(point["num_ranks"])
    return [ranks, str(batch[ranks]), three_digits(point["rate"]), quartiles, percent(point["efficiency"])]
