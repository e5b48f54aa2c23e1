# SPDX-License-Identifier: Apache-2.0
"""BenchmarkView: the rankings of one benchmark, its entries' time split and their epochs beside the reference's."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compliance.reports.pages.charts import Chart, Series, convergence_chart
from compliance.reports.pages.entries import METRICS, EntryView
from compliance.rulesets.ruleset import Benchmark, RuleSet
from compliance.scoring.reference_convergence import point_of, reference_counts
from compliance.scoring.score import Score


@dataclass(frozen=True, kw_only=True)
class Place:
    """One row of a ranking."""

    rank: int | None
    """None if the entry has no score, or is refused."""
    view: EntryView
    score: Score
    result: float | None
    """Scaled minutes, models per minute or VFLOPS; None without a score."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Entries of one metric and division, best first."""

    metric: str
    division: str
    places: Sequence[Place]

    @property
    def title(self) -> str:
        return f"{METRICS.get(self.metric, self.metric)}, {self.division} {self.places[0].view.division_word}"


@dataclass(frozen=True, kw_only=True)
class BenchmarkView:
    """One benchmark's section."""

    benchmark: Benchmark
    rankings: Sequence[Ranking]
    reference: Mapping[float, Sequence[float]]
    """Epochs of the reference runs by global batch size; empty if there are none."""

    @property
    def anchor(self) -> str:
        return f"benchmark-{self.benchmark.name}"

    @property
    def views(self) -> list[EntryView]:
        """In the order of the rankings."""
        return [place.view for ranking in self.rankings for place in ranking.places]

    @property
    def metrics(self) -> set[str]:
        return {ranking.metric for ranking in self.rankings}

    @property
    def divisions(self) -> list[str]:
        return sorted({view.entry.division for view in self.views})

    @property
    def has_phases(self) -> bool:
        return any(view.mean_phases for view in self.views)

    @property
    def convergence(self) -> Chart | None:
        """Epochs against batch size; None if no entry tells both, or the rules fix the epochs."""
        entries = [
            Series(
                name=f"{view.title}: {view.mean_epochs:.4g} epochs at batch size {view.batch_size:g}",
                kind=view.entry.division,
                points=[(view.batch_size, view.mean_epochs)],
                href=f"#{view.anchor}",
            )
            for view in self.views
            if view.batch_size and view.mean_epochs
        ]
        if not entries or self.benchmark.num_epochs:
            return None
        reference = [(batch, point_of(batch, epochs).mean) for batch, epochs in sorted(self.reference.items())]
        series = [Series(name="reference", kind="reference", points=reference)] if reference else []
        label = f"Epochs to the target against batch size: {len(entries)} entries, {len(reference)} reference points"
        return convergence_chart(series + entries, label=label, y_label="epochs to the target")


def benchmark_views(views: Iterable[EntryView], ruleset: RuleSet) -> list[BenchmarkView]:
    """One for every benchmark with a scored entry, in the order of the rule set."""
    reference = reference_counts(ruleset.values.get("reference_convergence", ""))
    by_name: dict[str, list[EntryView]] = {name: [] for name in ruleset.values["benchmarks"]}
    for view in views:
        if view.benchmark is not None and view.score is not None:
            by_name[view.benchmark.name].append(view)
    return [_benchmark_view(ruleset.benchmark(name), own, reference) for name, own in by_name.items() if own]


def _benchmark_view(benchmark: Benchmark, views: Sequence[EntryView], reference: Mapping) -> BenchmarkView:
    counts_epochs = benchmark.convergence_unit == "epochs"
    return BenchmarkView(
        benchmark=benchmark,
        rankings=_rankings(views),
        reference=reference.get(benchmark.name, {}) if counts_epochs else {},
    )


def _rankings(views: Sequence[EntryView]) -> list[Ranking]:
    by_kind: dict[tuple[str, str], list[tuple[EntryView, Score]]] = {}
    for view in views:
        if view.score is not None:
            by_kind.setdefault((view.score.metric, view.score.division), []).append((view, view.score))
    return [
        Ranking(metric=kind[0], division=kind[1], places=_places(by_kind[kind]))
        for kind in sorted(by_kind, key=_kind_order)
    ]


def _kind_order(kind: tuple[str, str]) -> tuple[int, str]:
    known = list(METRICS)
    return (known.index(kind[0]) if kind[0] in known else len(known), kind[1])


def _places(scored: Sequence[tuple[EntryView, Score]]) -> list[Place]:
    """Best first, equals share a rank; entries that are refused or have no score come last and have none."""
    places = [Place(rank=None, view=view, score=score, result=score.result) for view, score in scored]
    places.sort(key=_best_first)
    ranked: list[Place] = []
    for position, place in enumerate(places, start=1):
        if place.result is None or not place.view.is_accepted:
            ranked.append(place)
            continue
        before = ranked[-1] if ranked else None
        rank = before.rank if before and before.result == place.result else position
        ranked.append(Place(rank=rank, view=place.view, score=place.score, result=place.result))
    return ranked


def _best_first(place: Place) -> tuple[bool, float, str]:
    """Accepted entries with a score first, by result."""
    is_ranked = place.result is not None and place.view.is_accepted
    result = place.result if place.result is not None else math.inf
    return not is_ranked, result if place.score.metric == "time_to_train" else -result, place.view.title
