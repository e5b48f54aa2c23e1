# SPDX-License-Identifier: Apache-2.0
"""BenchmarkView: the rankings of one benchmark, its entries' time split and their epochs against the reference's."""

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
    """None where the entry is invalid."""
    view: EntryView
    result: float | None
    """What the rank goes by: minutes, models per minute or VFLOPS."""


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
    views: Sequence[EntryView]
    """In the order of the rankings."""
    reference: Mapping[float, Sequence[float]]
    """Epochs of the reference runs by global batch size; empty where there are none."""

    @property
    def anchor(self) -> str:
        return f"benchmark-{self.benchmark.name}"

    @property
    def divisions(self) -> list[str]:
        return sorted({view.entry.division for view in self.views})

    @property
    def has_phases(self) -> bool:
        return any(view.mean_phases for view in self.views)

    @property
    def convergence(self) -> Chart | None:
        """Epochs against batch size; None where no entry says both, or the rules fix the epochs."""
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
    scored = [view for view in views if view.score and view.limits]
    found = []
    for name in ruleset.values["benchmarks"]:
        own = [view for view in scored if view.limits.benchmark.name == name]
        if own:
            rankings = _rankings(own)
            ordered = [place.view for ranking in rankings for place in ranking.places]
            benchmark = own[0].limits.benchmark
            points = reference.get(name, {}) if benchmark.convergence_unit == "epochs" else {}
            found.append(BenchmarkView(benchmark=benchmark, rankings=rankings, views=ordered, reference=points))
    return found


def _rankings(views: Sequence[EntryView]) -> list[Ranking]:
    kinds = sorted({(view.score.metric, view.score.division) for view in views}, key=_kind_order)
    return [
        Ranking(
            metric=metric,
            division=division,
            places=_places([view for view in views if (view.score.metric, view.score.division) == (metric, division)]),
        )
        for metric, division in kinds
    ]


def _kind_order(kind: tuple[str, str]) -> tuple[int, str]:
    known = list(METRICS)
    return (known.index(kind[0]) if kind[0] in known else len(known), kind[1])


def _places(views: Sequence[EntryView]) -> list[Place]:
    """Best first, equals share a rank, invalid entries last and without one."""
    results = [(_result(view.score), view) for view in views]
    valid = sorted(((result, view) for result, view in results if result is not None), key=_best_first)
    places = []
    for position, (result, view) in enumerate(valid, start=1):
        rank = places[-1].rank if places and places[-1].result == result else position
        places.append(Place(rank=rank, view=view, result=result))
    return places + [Place(rank=None, view=view, result=None) for result, view in results if result is None]


def _best_first(item: tuple[float, EntryView]) -> tuple[float, str]:
    result, view = item
    return (result if view.score.metric == "time_to_train" else -result, view.title)


def _result(score: Score) -> float | None:
    """Scaled minutes; models per minute; VFLOPS. None where the entry is invalid."""
    if not score.scored:
        return None
    if score.metric == "time_to_train":
        return score.scaled_minutes
    if score.metric == "throughput":
        return score.runs / score.minutes if score.minutes else math.inf
    return score.vflops.vflops if score.vflops else None
