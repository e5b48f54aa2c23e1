# SPDX-License-Identifier: Apache-2.0
"""GEMM, convolution, recurrent and attention kernels with the shapes of DeepBench and of the benchmarks.

python -m characterize kernels --output output/characterize
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from matplotlib.figure import Figure

from characterize.measure import benchmarks, deepbench, kernel_work
from characterize.measure.device import PRECISIONS, choose_precisions, find_device
from characterize.measure.kernel_shapes import Kernel, convolution, gemm, of_benchmark
from characterize.measure.timing import time_repeatedly
from characterize.models.kernel_time import held_out_error
from characterize.pictures.kernels import draw
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import Table, percent, quantity, seconds, three_digits
from harness.progress import tracked

NOTE = (
    "Median of repeats with cold inputs; spread: IQR / median. DeepBench: a shape of its training set; own rules: with "
    "the projection of the input and all gradients, which DeepBench leaves out for recurrent layers."
)
FAMILIES = ("gemm", "conv2d", "conv3d", "lstm", "gru", "rnn", "attention")
SHAPES_A_BENCHMARK = 2
SECONDS_A_KERNEL = {False: 0.3, True: 2.0}
PEAK_GEMM = {"cpu": 2048, "cuda": 8192}
PEAK_CONVOLUTION = {"cpu": (8, 64, 64, (56, 56), (3, 3)), "cuda": (64, 256, 256, (56, 56), (3, 3))}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="what to measure (%(default)s)"
    )
    parser.add_argument(
        "--family", action="append", choices=FAMILIES, help="measure this kind of kernel only; repeatable"
    )
    parser.add_argument(
        "--precision",
        action="append",
        choices=PRECISIONS,
        help="measure this precision only; repeatable (default: all that the hardware supports)",
    )


def measure(options: argparse.Namespace) -> Result:
    device = find_device(options.device)
    precisions = choose_precisions(options.precision, device)
    kernels = [kernel for kernel in _kernels(options, device) if not options.family or kernel.family in options.family]
    wanted = [
        (kernel, direction, precision)
        for kernel in kernels
        for direction in kernel_work.DIRECTIONS
        for precision in precisions
        if kernel_work.is_defined(kernel, direction, precision)
    ]
    rows = [time_kernel(*case, device=device, full=options.full) for case in tracked(wanted, "kernels")]
    skipped = [_name(case) for case, row in zip(wanted, rows, strict=True) if row is None]
    rows = [row for row in rows if row is not None]
    if not rows:
        raise CharacterizeError(
            "kernels: none of the chosen kernels exists on this device in the chosen precision; choose others"
        )
    settings = {"device": device.type, "precisions": list(precisions), "full": options.full, "cold_inputs": True}
    return Result(
        name="kernels",
        verb="kernels",
        settings=settings,
        data={"kernels": rows, "skipped": skipped, "model": _fit(rows)},
    )


def _name(case: tuple[Kernel, str, str]) -> str:
    kernel, direction, precision = case
    return f"{kernel.family} {kernel.describe()} {direction} {precision}"


def _fit(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Held-out error of the kernel model, or the reason why there is none."""
    try:
        return held_out_error(rows).as_record()
    except CharacterizeError as error:
        return {"missing": str(error)}


def time_kernel(
    kernel: Kernel, direction: str, precision: str, *, device: torch.device, full: bool = False
) -> dict[str, Any] | None:
    """Time one kernel; None if torch has no such kernel."""
    try:
        work = kernel_work.build(kernel, direction=direction, precision=precision, device=device)
        timing = time_repeatedly(work, device=device, max_seconds=SECONDS_A_KERNEL[full])
    except RuntimeError:
        return None
    flops, num_bytes = kernel_work.flops(kernel, direction), kernel.num_bytes(precision)
    return {
        "family": kernel.family,
        "sizes": {name: list(size) if isinstance(size, tuple) else size for name, size in kernel.sizes},
        "shape": kernel.describe(),
        "source": kernel.source,
        "direction": direction,
        "precision": precision,
        "flops": flops,
        "bytes": num_bytes,
        "intensity": flops / num_bytes,
        **asdict(timing),
        "flops_per_s": flops / timing.seconds,
        "flops_per_core_second": flops / timing.core_seconds if timing.core_seconds else None,
    }


def peak_kernels(device: torch.device) -> list[Kernel]:
    """Kernels that come close to the device's peak; the roofline uses them as ceilings."""
    size = PEAK_GEMM[device.type]
    return [gemm(size, size, size, "peak"), convolution(*PEAK_CONVOLUTION[device.type], source="peak")]


def tables(result: Result) -> Iterator[Table]:
    for precision in result.settings["precisions"]:
        rows = [row for row in result.data["kernels"] if row["precision"] == precision]
        yield Table(
            title=f"Kernels, {precision} on {result.settings['device']}",
            columns=(
                "kernel",
                "shape",
                "source",
                "direction",
                "time",
                "spread",
                "FLOP/s",
                "per core-second",
                "FLOP/B",
            ),
            rows=[_row(row) for row in rows],
            num_left=4,
            note=NOTE,
        )
    if result.data["skipped"]:
        reason = "torch has no such kernel on this device, or the memory is too small"
        rows = [[name, reason] for name in result.data["skipped"]]
        yield Table(title="Kernels that could not run", columns=("kernel", "reason"), rows=rows, num_left=2)
    yield _model_table(result.data["model"])


def _model_table(model: dict[str, Any]) -> Table:
    if "missing" in model:
        rows = [["not fitted", model["missing"]]]
    else:
        rows = [
            ["shapes", str(model["num_shapes"])],
            ["typical error, held out", percent(model["typical_error"])],
            ["90th percentile of the error", percent(model["ninth_decile_error"])],
            ["baseline: median rate of similar kernels", percent(model["naive_error"])],
        ]
    note = "Each shape is predicted from the others; an error of 50 % means 1.5 times too long or too short."
    return Table(title="Model from input parameters to performance", columns=("what", "value"), rows=rows, note=note)


def figures(result: Result) -> dict[str, Figure]:
    return {"kernels": draw(result)}


def _row(row: dict) -> list[str]:
    return [
        row["family"],
        row["shape"],
        benchmark_title(row["source"]),
        row["direction"],
        seconds(row["seconds"]),
        percent(row["spread"]),
        quantity(row["flops_per_s"]),
        quantity(row["flops_per_core_second"]),
        three_digits(row["intensity"]),
    ]


def _kernels(options: argparse.Namespace, device: torch.device) -> list[Kernel]:
    most = None if options.full else SHAPES_A_BENCHMARK
    small = not options.full and device.type == "cpu"
    own = [kernel for entry in benchmarks.named(None) for kernel in of_benchmark(entry, most, small=small)]
    return [*peak_kernels(device), *deepbench.shapes(options.full), *own]
