# SPDX-License-Identifier: Apache-2.0
"""The tables of HPC AI500 V2.0's section 8, from the logs of runs: performance, scaling and gradient compression.

for table in hpc_ai500.tables(entries, peak_flops=15e12): ...
"""

from collections.abc import Iterator, Sequence

from compliance.analysis.entry_figures import EntryFigures
from compliance.analysis.table import Cell, Column, Table
from compliance.analysis.tables import ENTRY_COLUMNS, head
from compliance.scoring.vflops import Vflops

TERA, GIGA = 1e12, 1e9
NO_COMPRESSION = ("", "none")
Measured = tuple[EntryFigures, Vflops]


def tables(entries: Sequence[EntryFigures], peak_flops: float | None) -> list[Table]:
    """All tables that have rows. `peak_flops` is the theoretical peak of one accelerator (or processor)."""
    measured = [(entry, entry.score.vflops) for entry in entries if entry.score.vflops is not None]
    made = (performance(measured, peak_flops), scaling(measured), compression(measured))
    return [table for table in made if table.rows]


def performance(measured: Sequence[Measured], peak_flops: float | None) -> Table:
    """Table 11 and Figure 14: FLOPS, VFLOPS, both per watt, and the share of the theoretical peak."""
    columns = (
        *ENTRY_COLUMNS,
        Column(key="precision", heading="precision"),
        Column(key="ranks", heading="ranks"),
        Column(key="gflop_per_image", heading="GFLOP/image", digits=1),
        Column(key="images_per_second", heading="images/s", digits=1),
        Column(key="tflops", heading="TFLOPS", digits=3),
        Column(key="peak_share", heading="of peak", digits=1, percent=True),
        Column(key="quality", heading="quality", digits=4),
        Column(key="vtflops", heading="VTFLOPS", digits=3),
        Column(key="gflops_per_watt", heading="GFLOPS/W"),
        Column(key="vgflops_per_watt", heading="VGFLOPS/W"),
        Column(key="minutes_to_quality", heading="minutes to quality"),
    )
    ranked = sorted(measured, key=lambda pair: (pair[0].benchmark, -pair[1].vflops))
    return Table(
        name="hpc_ai500_performance",
        title="HPC AI500: performance, highest VFLOPS first",
        columns=columns,
        rows=[head(entry) | _performance(entry, vflops, peak_flops) for entry, vflops in ranked],
        notes=(
            "TFLOPS: images/s x FLOP/image. VTFLOPS: TFLOPS x (quality / target)^n. Means without the highest and the "
            "lowest run.",
            "Of peak: TFLOPS / (ranks x --peak); empty without --peak.",
        ),
    )


def _performance(entry: EntryFigures, vflops: Vflops, peak_flops: float | None) -> dict[str, Cell]:
    return {
        "precision": entry.precision,
        "ranks": entry.units,
        "gflop_per_image": entry.flops_per_image / GIGA if entry.flops_per_image else None,
        "images_per_second": vflops.flops / entry.flops_per_image if entry.flops_per_image else None,
        "tflops": vflops.flops / TERA,
        "peak_share": vflops.flops / (entry.units * peak_flops) if entry.units and peak_flops else None,
        "quality": vflops.quality,
        "vtflops": vflops.vflops / TERA,
        "gflops_per_watt": _scaled(vflops.flops_per_watt),
        "vgflops_per_watt": _scaled(vflops.vflops_per_watt),
        "minutes_to_quality": vflops.time_to_quality_minutes,
    }


def _scaled(value: float | None) -> float | None:
    return None if value is None else value / GIGA


def scaling(measured: Sequence[Measured]) -> Table:
    """Figure 12: parallel efficiency against the smallest entry of the same organization, precision and compression."""
    columns = (
        *ENTRY_COLUMNS,
        Column(key="precision", heading="precision"),
        Column(key="compression", heading="compression"),
        Column(key="ranks", heading="ranks"),
        Column(key="tflops", heading="TFLOPS", digits=3),
        Column(key="speedup", heading="speed-up"),
        Column(key="efficiency", heading="parallel efficiency"),
    )
    return Table(
        name="hpc_ai500_scaling",
        title="HPC AI500: scaling",
        columns=columns,
        rows=list(_scaling_rows(measured)),
        notes=("Parallel efficiency: TFLOPS per rank / TFLOPS per rank of the entry with the fewest ranks.",),
    )


def _scaling_rows(measured: Sequence[Measured]) -> Iterator[dict[str, Cell]]:
    series: dict[tuple, list[Measured]] = {}
    for entry, vflops in measured:
        if entry.units:
            series.setdefault((*entry.family, entry.precision, entry.compression), []).append((entry, vflops))
    for _, members in sorted(series.items()):
        members.sort(key=lambda pair: pair[0].units or 0)
        if len({entry.units for entry, _ in members}) > 1:
            yield from (_scaling_row(entry, vflops, members[0]) for entry, vflops in members)


def _scaling_row(entry: EntryFigures, vflops: Vflops, smallest: Measured) -> dict[str, Cell]:
    first, base = smallest
    speedup = vflops.flops / base.flops
    return head(entry) | {
        "precision": entry.precision,
        "compression": entry.compression,
        "ranks": entry.units,
        "tflops": vflops.flops / TERA,
        "speedup": speedup,
        "efficiency": speedup * first.units / entry.units if first.units and entry.units else None,
    }


def compression(measured: Sequence[Measured]) -> Table:
    """Section 8.4: the speed-up by gradient compression, against the same ranks and precision without it."""
    columns = (
        *ENTRY_COLUMNS,
        Column(key="precision", heading="precision"),
        Column(key="compression", heading="compression"),
        Column(key="ranks", heading="ranks"),
        Column(key="tflops", heading="TFLOPS", digits=3),
        Column(key="tflops_without", heading="TFLOPS without", digits=3),
        Column(key="speedup", heading="speed-up"),
    )
    return Table(
        name="hpc_ai500_compression",
        title="HPC AI500: speed-up by gradient compression",
        columns=columns,
        rows=list(_compression_rows(measured)),
    )


def _compression_rows(measured: Sequence[Measured]) -> Iterator[dict[str, Cell]]:
    without = {
        (*entry.family, entry.precision, entry.units): vflops
        for entry, vflops in measured
        if entry.compression in NO_COMPRESSION
    }
    for entry, vflops in measured:
        base = without.get((*entry.family, entry.precision, entry.units))
        if base is not None and entry.compression not in NO_COMPRESSION:
            yield head(entry) | {
                "precision": entry.precision,
                "compression": entry.compression,
                "ranks": entry.units,
                "tflops": vflops.flops / TERA,
                "tflops_without": base.flops / TERA,
                "speedup": vflops.flops / base.flops,
            }
