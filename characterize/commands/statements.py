# SPDX-License-Identifier: Apache-2.0
"""Sentences that summarize results for the head of the report page, by topic, the most limiting first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from characterize.commands import breakdown, roofline, scaling
from characterize.models.roofline import attained_bound
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import Result
from characterize.results.tables import percent, quantity, three_digits

TOPICS = {
    "roofline": "Benchmarks against their bounds, farthest first",
    "breakdown": "Where the time of a training step goes",
    "scaling": "What more ranks lose, largest loss first",
    "allreduce": "Communication, slowest library first",
    "storage": "Storage with a cold cache, slowest first",
    "predict": "Time to train elsewhere, longest first",
    "fom": "Against the reference system, lowest ratio first",
}
"""Verbs that the head of the page summarizes, with the headings of their sentences."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One sentence about a result."""

    text: str
    order: float
    """Position within its topic; lower is more limiting."""
    origin: str
    """Result file and day."""


def by_topic(results: Iterable[Result]) -> dict[str, list[Statement]]:
    """Sentences about the results by heading; headings without sentences are left out."""
    results = list(results)
    found = {}
    for verb, heading in TOPICS.items():
        own = [statement for result in results if result.verb == verb for statement in _statements(result)]
        if own:
            found[heading] = sorted(own, key=lambda statement: statement.order)
    return found


def _statements(result: Result) -> Iterator[Statement]:
    makers = {
        "roofline": _of_roofline,
        "allreduce": _of_collectives,
        "storage": _of_storage,
        "breakdown": _of_breakdown,
        "scaling": _of_scaling,
        "predict": _of_prediction,
        "fom": _of_figures_of_merit,
    }
    for order, text in makers[result.verb](result):
        yield Statement(text=text, order=order, origin=f"{result.name}.json, {result.written_at[:10]}")


Sentences = Iterator[tuple[float, str]]
"""Each with its order, lower is more limiting."""


def _of_roofline(result: Result) -> Sentences:
    system, placed = roofline.read(result)
    for item in placed:
        bound = attained_bound(item.workload, system, compute=item.compute)
        limit = f"{bound.limit} ({bound.ceiling}) at {quantity(bound.flops_per_s, 'FLOP/s')}"
        text = f"{item.workload.name} is bound by {limit}"
        reached = item.workload.attained_flops_per_s
        if reached is not None:
            where = "" if item.is_measured_at_size else " on a smaller input or batch"
            text += f"; it attains {quantity(reached, 'FLOP/s')}{where}, {percent(bound.share(reached))} of that"
        yield (1.0 if reached is None else bound.share(reached)), f"{text}."


def _of_collectives(result: Result) -> Sentences:
    rows = [row for row in result.data["rows"] if "busbw" in row and row["collective"] == "all_reduce"]
    for library in sorted({row["library"] for row in rows}):
        best = max((row for row in rows if row["library"] == library), key=lambda row: row["busbw"])
        ranks = result.data["num_ranks"]
        rate = quantity(best["busbw"], "B/s")
        yield best["busbw"], f"An all-reduce by {library} over {ranks} ranks reaches {rate} of bus bandwidth."


def _of_storage(result: Result) -> Sentences:
    for row in result.data["rows"]:
        if row["state"] == "cold" and "bytes_per_s" in row:
            yield row["bytes_per_s"], f"{row['test']}: {quantity(row['bytes_per_s'], 'B/s')}."


def _of_breakdown(result: Result) -> Sentences:
    kinds = result.data["kinds"]
    first, second = sorted(kinds, key=lambda kind: -kinds[kind])[:2]
    total = sum(kinds.values())
    shares = " and ".join(f"{percent(kinds[kind] / total)} on {kind}" for kind in (first, second))
    phases = result.data["phases"]
    exposed = percent(phases["exposed_communication"] / sum(phases[name] for name in breakdown.PHASES))
    title, ranks = benchmark_title(result.settings["benchmark"]), result.settings["ranks"]
    yield 0.0, f"{title} spends {shares}; with {ranks} ranks {exposed} of a step waits for communication."


def _of_scaling(result: Result) -> Sentences:
    title = benchmark_title(result.settings["benchmark"])
    for kind in result.settings["kinds"]:
        last = scaling.points(result, kind)[-1]
        kept = f"keeps {percent(last.efficiency)} of its efficiency at {last.num_ranks} ranks"
        yield last.efficiency, f"{title}, {kind} scaling: {kept}."


def _of_prediction(result: Result) -> Sentences:
    for choice in result.data.get("choices", []):
        if choice["is_fastest"]:
            interval = f"{three_digits(choice['low'])} to {three_digits(choice['high'])}"
            title, device = benchmark_title(result.settings["benchmark"]), result.settings["accelerator"]
            yield (
                -choice["minutes"],
                f"{title} on {choice['num_ranks']} {device} with a global batch size of "
                f"{choice['global_batch_size']}: {three_digits(choice['minutes'])} minutes predicted ({interval}).",
            )


def _of_figures_of_merit(result: Result) -> Sentences:
    for column, ratio in result.data.get("geometric_means", {}).items():
        system, reference = (result.data["systems"][role]["system"] for role in ("proposed", "reference"))
        yield ratio, f"{system}, {column}: {three_digits(ratio)} times {reference} (geometric mean)."
