# SPDX-License-Identifier: Apache-2.0
"""Sentences that summarize a result for the head of the report page, each with its source file."""

from collections.abc import Iterator
from dataclasses import dataclass

from characterize.commands import roofline, scaling
from characterize.models.roofline import attained_bound
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import Result
from characterize.results.tables import percent, quantity, three_digits


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One sentence about a result."""

    text: str
    origin: str


def statements(result: Result) -> Iterator[Statement]:
    """Sentences about one result."""
    makers = {
        "roofline": _of_roofline,
        "allreduce": _of_collectives,
        "storage": _of_storage,
        "breakdown": _of_breakdown,
        "scaling": _of_scaling,
        "predict": _of_prediction,
    }
    if result.verb in makers:
        for text in makers[result.verb](result):
            yield Statement(text=text, origin=f"{result.name}.json, {result.written_at[:10]}")


def _of_roofline(result: Result) -> Iterator[str]:
    system, placed = roofline.read(result)
    for item in placed:
        bound = attained_bound(item.workload, system, compute=item.compute)
        limit = f"{bound.limit} ({bound.ceiling}) at {quantity(bound.flops_per_s, 'FLOP/s')}"
        text = f"{item.workload.name} is bound by {limit}"
        reached = item.workload.attained_flops_per_s
        if reached is not None:
            where = "" if item.is_measured_at_size else " on a smaller input or batch"
            text += f"; it attains {quantity(reached, 'FLOP/s')}{where}, {percent(bound.share(reached))} of that"
        yield f"{text}."


def _of_collectives(result: Result) -> Iterator[str]:
    rows = [row for row in result.data["rows"] if "busbw" in row and row["collective"] == "all_reduce"]
    for library in sorted({row["library"] for row in rows}):
        best = max((row for row in rows if row["library"] == library), key=lambda row: row["busbw"])
        ranks = result.data["num_ranks"]
        rate = quantity(best["busbw"], "B/s")
        yield f"An all-reduce by {library} over {ranks} ranks reaches {rate} of bus bandwidth."


def _of_storage(result: Result) -> Iterator[str]:
    for row in result.data["rows"]:
        if row["state"] == "cold" and "bytes_per_s" in row:
            yield f"{quantity(row['bytes_per_s'], 'B/s')} from a cold cache: {row['test']}."


def _of_breakdown(result: Result) -> Iterator[str]:
    kinds = result.data["kinds"]
    first, second = sorted(kinds, key=lambda kind: -kinds[kind])[:2]
    total = sum(kinds.values())
    shares = " and ".join(f"{percent(kinds[kind] / total)} on {kind}" for kind in (first, second))
    yield f"A step of {result.settings['benchmark']} spends {shares}."


def _of_scaling(result: Result) -> Iterator[str]:
    for kind in result.settings["kinds"]:
        last = scaling.points(result, kind)[-1]
        yield (
            f"{kind.capitalize()} scaling of {result.settings['benchmark']} keeps {percent(last.efficiency)} of its "
            f"efficiency at {last.num_ranks} ranks."
        )


def _of_prediction(result: Result) -> Iterator[str]:
    for choice in result.data.get("choices", []):
        if choice["is_fastest"]:
            interval = f"{three_digits(choice['low'])} to {three_digits(choice['high'])}"
            yield (
                f"Of the compared choices {benchmark_title(result.settings['benchmark'])} trains fastest on "
                f"{choice['num_ranks']} {result.settings['accelerator']} with a global batch size of "
                f"{choice['global_batch_size']}: {three_digits(choice['minutes'])} minutes predicted ({interval})."
            )
