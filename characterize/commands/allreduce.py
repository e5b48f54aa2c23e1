# SPDX-License-Identifier: Apache-2.0
"""Collective operations over message size: algbw and busbw of every communication library that is installed.

python -m characterize allreduce --output output/characterize
torchrun --nnodes 4 --nproc-per-node 8 ... -m characterize allreduce --output output/characterize
"""

import argparse
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from matplotlib.figure import Figure

from characterize.measure import benchmarks
from characterize.measure.collectives import DATA_TYPES, WRONG
from characterize.measure.ranks import on_ranks, oversubscription, started_by_torchrun
from characterize.models.bandwidth import COLLECTIVES, algorithm_bandwidth, bus_factor
from characterize.pictures.collectives import draw
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import Table, percent, quantity, seconds, size

MIB = 1 << 20
QUICK_SIZES = (8, 1 << 10, 32 << 10, 256 << 10, MIB, 3 * MIB, 8 * MIB, 25 * MIB, 64 * MIB)
FULL_SIZES = tuple(sorted({8 * 4**power for power in range(13)} | {3 << power for power in range(3, 27, 3)}))
"""8 B to 128 MiB in steps of 4, and sizes between them that are not powers of two."""
BUCKET_BYTES = 25 * MIB
"""Default bucket size of DistributedDataParallel."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int, default=2, metavar="N", help="processes on this machine (%(default)s)")
    parser.add_argument(
        "--collective", action="append", choices=COLLECTIVES, help="measure this collective only; repeatable"
    )
    parser.add_argument("--data-type", action="append", choices=DATA_TYPES, help="measure this type only; repeatable")
    parser.add_argument(
        "--backend", action="append", choices=("torch", "mpi"), help="measure this library only; repeatable"
    )


def measure(options: argparse.Namespace) -> Result:
    num_ranks = int(os.environ["WORLD_SIZE"]) if started_by_torchrun() else options.ranks
    if num_ranks < 2:
        raise CharacterizeError(f"--ranks: found {num_ranks}, expected at least 2; one rank communicates nothing")
    sizes = [*FULL_SIZES, 256 * MIB] if options.full else list(QUICK_SIZES)
    chosen = {
        "collectives": options.collective or list(COLLECTIVES if options.full else COLLECTIVES[:1]),
        "sizes": sizes,
        "repeats": 20 if options.full else 7,
        "data_types": options.data_type or (["fp32", "fp16", "bf16"] if options.full else ["fp32"]),
    }
    rows = []
    for backend in _backends(options.backend):
        function = "characterize.measure.collectives:" + ("sweep_mpi" if backend == "mpi" else "sweep")
        measured = on_ranks(function, chosen, num_ranks=num_ranks, mpi=backend == "mpi")
        rows += [with_bandwidth(row, num_ranks=num_ranks) for row in measured]
    data = {"rows": rows, "num_ranks": num_ranks, "messages": messages(), "warning": oversubscription(num_ranks)}
    return Result(name="allreduce", verb="allreduce", settings=chosen | {"ranks": num_ranks}, data=data)


def with_bandwidth(row: dict[str, Any], *, num_ranks: int) -> dict[str, Any]:
    """Add algbw and busbw to a measured row; rows with an error stay unchanged."""
    if "error" in row:
        return row
    algbw = algorithm_bandwidth(row["bytes"], row["seconds"])
    return row | {"algbw": algbw, "busbw": algbw * bus_factor(row["collective"], num_ranks)}


def best_bus_bandwidth(result: Result) -> tuple[float, str]:
    """Highest busbw of an all-reduce, and its library."""
    rows = [row for row in result.data["rows"] if row["collective"] == "all_reduce" and "busbw" in row]
    best = max(rows, key=lambda row: row["busbw"])
    return best["busbw"], best["library"]


def messages() -> dict[str, int]:
    """Bytes of fp32 gradients that each benchmark reduces per step."""
    sizes = {}
    for benchmark in benchmarks.named(None):
        with torch.device("meta"):
            model = benchmark.make_model(benchmark.reference_size)
        sizes[benchmark.title] = 4 * sum(parameter.numel() for parameter in model.parameters())
    return sizes


def tables(result: Result) -> Iterator[Table]:
    for collective in result.settings["collectives"]:
        rows = [row for row in result.data["rows"] if row["collective"] == collective]
        yield Table(
            title=f"{collective.replace('_', ' ')} over {result.data['num_ranks']} ranks",
            columns=("library", "type", "message", "time", "spread", "algbw", "busbw"),
            rows=[_row(row) for row in rows],
            num_left=2,
            note="algbw and busbw as defined by nccl-tests; times are those of the slowest rank; every result was "
            f"checked. {result.data['warning']}".rstrip(),
        )


def figures(result: Result) -> dict[str, Figure]:
    return {"allreduce": draw(result)}


def _row(row: dict) -> list[str]:
    head = [row["library"], row["data_type"]]
    if row.get("error") == WRONG:
        return [*head, size(row["bytes"]), "WRONG RESULT", "", "", ""]
    if "error" in row:
        return [*head, "not offered", row["error"], "", "", ""]
    times = [seconds(row["seconds"]), percent(row["spread"])]
    return [*head, size(row["bytes"]), *times, quantity(row["algbw"], "B/s"), quantity(row["busbw"], "B/s")]


def _backends(wanted: list[str] | None) -> list[str]:
    """The named libraries; default: torch, and MPI if it is installed. CharacterizeError if a named one is missing."""
    has_mpi = find_spec("mpi4py") is not None
    if wanted and "mpi" in wanted and not has_mpi:
        raise CharacterizeError("--backend mpi: mpi4py is not installed; pip install mpi4py mpich")
    if wanted:
        return wanted
    return ["torch", "mpi"] if has_mpi and not started_by_torchrun() else ["torch"]
